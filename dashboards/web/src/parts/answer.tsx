// What stands where data should be: waiting, an error in words with what to do, nothing there, or the data.

import { Alert, Button, Code, Skeleton, Text } from "@mantine/core";
import { IconAlertTriangle, IconInfoCircle } from "@tabler/icons-react";
import type { UseQueryResult } from "@tanstack/react-query";
import type { ReactNode } from "react";
import { ApiError, said } from "../api/http";

export function Waiting({ height = 80 }: { height?: number }) {
  return <Skeleton data-state="loading" height={height} aria-label="Loading" role="status" />;
}

export function Failed({ error, retry }: { error: unknown; retry?: () => void }) {
  const status = error instanceof ApiError ? error.status : 0;
  const title = status === 400 || status === 422 ? "The query was refused" : status === 404 ? "Not found" : status === 401 ? "A token is needed" : "No answer";
  return (
    <Alert data-state="error" role="alert" color="red" variant="light" p="xs" title={title} icon={<IconAlertTriangle size={18} />}>
      <Text size="sm" className="wrap" style={{ whiteSpace: "pre-wrap" }}>{said(error)}</Text>
      {retry && <Button size="compact-xs" variant="light" color="red" mt={6} onClick={retry}>Try again</Button>}
    </Alert>
  );
}

export function Nothing({ children }: { children: ReactNode }) {
  return (
    <Text data-state="empty" size="sm" c="dimmed" p="xs" style={{ display: "flex", gap: 6, alignItems: "center" }}>
      <IconInfoCircle size={16} aria-hidden="true" style={{ flex: "none" }} />
      <span>{children}</span>
    </Text>
  );
}

export function Warnings({ list }: { list: string[] }) {
  if (list.length === 0) return null;
  return (
    <Alert color="yellow" variant="light" p="xs" mb="xs" icon={<IconAlertTriangle size={18} />} title="The answer is not complete">
      {list.slice(0, 5).map((warning) => <Code key={warning} block>{warning}</Code>)}
    </Alert>
  );
}

interface Properties<T> {
  query: UseQueryResult<T>;
  /** Says why `data` has nothing to show; null where it has. */
  empty: (data: T) => ReactNode;
  height?: number;
  children: (data: T) => ReactNode;
}

export function Answered<T>({ query, empty, height, children }: Properties<T>) {
  // An error after data came: the data is kept, the error stands above it.
  if (query.data === undefined) {
    return query.error ? <Failed error={query.error} retry={() => void query.refetch()} /> : <Waiting {...(height === undefined ? {} : { height })} />;
  }
  const nothing = empty(query.data);
  return (
    <div className="answered" data-stale={query.isPlaceholderData || undefined} aria-busy={query.isFetching}>
      {query.error && <Failed error={query.error} />}
      {nothing ? <Nothing>{nothing}</Nothing> : children(query.data)}
    </div>
  );
}
