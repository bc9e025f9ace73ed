// What tells a selection of traces or log lines from a baseline, most telling first.

import { Text } from "@mantine/core";
import { keepPreviousData, useQuery } from "@tanstack/react-query";
import { compare, type Comparison, type Difference, type Part } from "../api/causes";
import { share } from "../format";
import { Answered, Nothing, Warnings } from "./answer";
import { useSpan } from "./clock";
import { Rows } from "./rows";

const SHOWN = 12;

interface Properties {
  selection: string;
  /** What is compared, as "slow traces". */
  what: string;
  /** Everything else where there is none. */
  baseline?: string;
  part?: Part;
}

export function Compared({ selection, what, baseline, part }: Properties) {
  const span = useSpan();
  const query = useQuery({
    queryKey: ["compare", selection, baseline, part, span],
    queryFn: ({ signal }) => compare(selection, span, signal, baseline, part),
    placeholderData: keepPreviousData,
  });
  return (
    <div style={{ marginTop: 8 }}>
      <Answered query={query} empty={() => null}>
        {(data) => (
          <>
            <Warnings list={data.warnings ?? []} />
            {data.differences.length === 0
              ? <Nothing>{`Nothing else tells the ${what} from the others.`}</Nothing>
              : <Differences told={data} what={what} />}
          </>
        )}
      </Answered>
    </div>
  );
}

function Differences({ told, what }: { told: Comparison; what: string }) {
  return (
    <>
      <Text size="xs" c="dimmed" mb={4}>What the {told.selection} newest {what} have, and how often {told.baseline} others have it.</Text>
      <Rows<Difference>
        label="What is different" rows={told.differences.slice(0, SHOWN)}
        columns={[
          { name: "What", value: (row) => row.attribute },
          { name: "Value", value: (row) => row.value },
          { name: "These", number: true, value: (row) => row.selection_share, show: (row) => <b title={`${row.selection_count}`}>{share(row.selection_share)}</b> },
          { name: "Others", number: true, value: (row) => row.baseline_share, show: (row) => <span title={`${row.baseline_count}`}>{share(row.baseline_share)}</span> },
        ]}
      />
    </>
  );
}
