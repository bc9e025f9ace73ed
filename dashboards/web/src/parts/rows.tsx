// A table of a few hundred rows: sorted by a click on its head, walked with j and k, copied as CSV.

import { Group, Table, Text, UnstyledButton } from "@mantine/core";
import { IconCopy, IconSortAscending, IconSortDescending } from "@tabler/icons-react";
import { type KeyboardEvent, type ReactNode, useMemo, useState } from "react";

/** Rows that are put into the document; the rest is told as a number. */
const ROWS_MAX = 500;

export interface Column<R> {
  name: string;
  /** What is sorted and copied. */
  value: (row: R) => string | number | null;
  /** What is shown; `value` when left out. */
  show?: (row: R) => ReactNode;
  number?: boolean;
}

interface Properties<R> {
  label: string;
  columns: Column<R>[];
  rows: R[];
  onOpen?: ((row: R) => void) | undefined;
  copy?: boolean;
}

export function Rows<R>({ label, columns, rows, onOpen, copy = true }: Properties<R>) {
  const [sort, setSort] = useState<{ column: number; down: boolean } | null>(null);
  const sorted = useMemo(() => {
    const column = sort && columns[sort.column];
    if (!column) return rows;
    const order = [...rows].sort((a, b) => compare(column.value(a), column.value(b)));
    return sort.down ? order.reverse() : order;
  }, [rows, columns, sort]);

  return (
    <div data-state="table" data-rows={rows.length}>
      <Table.ScrollContainer minWidth={columns.length * 90} type="native">
        <Table aria-label={label} verticalSpacing={4} horizontalSpacing="xs" highlightOnHover fz="sm">
          <Table.Thead>
            <Table.Tr>
              {columns.map((column, index) => {
                const by = sort?.column === index;
                return (
                  <Table.Th key={column.name} aria-sort={by ? (sort.down ? "descending" : "ascending") : "none"} className={column.number ? "number" : ""}>
                    <UnstyledButton fz="xs" fw={600} onClick={() => setSort({ column: index, down: by ? !sort.down : !!column.number })}>
                      {column.name} {by && (sort.down ? <IconSortDescending size={12} /> : <IconSortAscending size={12} />)}
                    </UnstyledButton>
                  </Table.Th>
                );
              })}
            </Table.Tr>
          </Table.Thead>
          <Table.Tbody>
            {sorted.slice(0, ROWS_MAX).map((row, index) => (
              <Table.Tr
                key={index}
                {...(onOpen ? { tabIndex: 0, role: "link", style: { cursor: "pointer" }, onClick: () => onOpen(row), onKeyDown: (event: KeyboardEvent<HTMLElement>) => walk(event, () => onOpen(row)) } : {})}
              >
                {columns.map((column) => (
                  <Table.Td key={column.name} className={column.number ? "number" : "wrap"}>{column.show ? column.show(row) : (column.value(row) ?? "–")}</Table.Td>
                ))}
              </Table.Tr>
            ))}
          </Table.Tbody>
        </Table>
      </Table.ScrollContainer>
      {(copy || rows.length > ROWS_MAX) && (
        <Group gap="xs" mt={4}>
          {rows.length > ROWS_MAX && <Text size="xs" c="dimmed">The first {ROWS_MAX} of {rows.length} rows.</Text>}
          {copy && (
            <UnstyledButton fz="xs" c="dimmed" onClick={() => void navigator.clipboard?.writeText(csv(columns, sorted))}>
              <IconCopy size={12} aria-hidden="true" /> Copy as CSV
            </UnstyledButton>
          )}
        </Group>
      )}
    </div>
  );
}

function walk(event: KeyboardEvent<HTMLElement>, open: () => void): void {
  const row = event.currentTarget;
  const other = event.key === "j" || event.key === "ArrowDown" ? row.nextElementSibling : event.key === "k" || event.key === "ArrowUp" ? row.previousElementSibling : null;
  if (event.key === "Enter") open();
  else if (other instanceof HTMLElement) other.focus();
  else return;
  event.preventDefault();
}

function compare(a: string | number | null, b: string | number | null): number {
  if (a === null || b === null) return a === b ? 0 : a === null ? -1 : 1;
  return typeof a === "number" && typeof b === "number" ? a - b : String(a).localeCompare(String(b));
}

export function csv<R>(columns: Column<R>[], rows: R[]): string {
  const cell = (value: string | number | null) => {
    const text = value === null ? "" : String(value);
    return /[",\n\r]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
  };
  return [columns.map((column) => cell(column.name)), ...rows.map((row) => columns.map((column) => cell(column.value(row))))]
    .map((cells) => cells.join(","))
    .join("\n");
}
