// A graph of which a part can be marked by dragging over it: to zoom into it, or to ask what tells the traces or lines of that
// time from those of the rest.

import { Button, Group, Text } from "@mantine/core";
import { IconGitCompare, IconX, IconZoomIn } from "@tabler/icons-react";
import type { Part } from "../api/causes";
import type { Answer } from "../api/prometheus";
import { Compared } from "../parts/compared";
import { useClock } from "../parts/clock";
import { stamp } from "../time";
import { one, useUrl } from "../url";
import { Graph } from "./metric-result";

interface Properties {
  answer: Answer;
  label: string;
  /** The query for the traces or lines that the graph counts. */
  counted: string;
  /** As "traces". */
  what: string;
}

export function MarkedGraph({ answer, label, counted, what }: Properties) {
  const { zoom } = useClock();
  const [search, change] = useUrl();
  const part = parsePart(one(search.part));
  const compared = one(search.compare) === "part";
  const mark = (startMs: number, endMs: number) => change({ part: partText({ startMs, endMs }) }, true);
  const forget = { part: undefined, compare: undefined };
  return (
    <>
      <Graph answer={answer} label={label} onDrag={mark} />
      {part ? (
        <Group gap="xs" mt={6} data-part={partText(part)}>
          <Text size="sm">{stamp(part.startMs)} to {stamp(part.endMs)}</Text>
          <Button size="compact-sm" leftSection={<IconGitCompare size={14} />} aria-expanded={compared} onClick={() => change({ compare: compared ? undefined : "part" }, true)}>Compare with the rest</Button>
          <Button
            size="compact-sm" variant="default" leftSection={<IconZoomIn size={14} />}
            onClick={() => {
              change(forget, true);
              zoom(part.startMs, part.endMs);
            }}
          >
            Zoom in
          </Button>
          <Button size="compact-sm" variant="default" leftSection={<IconX size={14} />} onClick={() => change(forget, true)}>Forget</Button>
        </Group>
      ) : (
        <Text size="xs" c="dimmed" mt={4}>Drag over the graph to compare the {what} of a time with those of the rest.</Text>
      )}
      {part && compared && <Compared selection={counted} baseline={counted} part={part} what={`${what} of that time`} />}
    </>
  );
}

export function partText(part: Part): string {
  return `${Math.round(part.startMs)}-${Math.round(part.endMs)}`;
}

export function parsePart(text: string | undefined): Part | undefined {
  const found = /^(\d+)-(\d+)$/.exec(text ?? "");
  const part = { startMs: Number(found?.[1]), endMs: Number(found?.[2]) };
  return found && part.startMs < part.endMs ? part : undefined;
}
