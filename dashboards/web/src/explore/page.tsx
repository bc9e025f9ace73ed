// Explore: one editor, four languages, one time range.

import { Button, Group, Loader, SegmentedControl, Stack, Text, Title, UnstyledButton } from "@mantine/core";
import { IconCopy, IconPlayerPlay } from "@tabler/icons-react";
import { lazy, Suspense, useEffect, useState } from "react";
import { Waiting } from "../parts/answer";
import { useClock } from "../parts/clock";
import { one, useUrl } from "../url";
import { LANGUAGES, type LanguageInfo, languageOf } from "./languages";
import { LogResult } from "./log-result";
import { MetricResult } from "./metric-result";
import { SqlResult } from "./sql-result";
import { TraceResult } from "./trace-result";

const Editor = lazy(() => import("./editor"));

export function ExplorePage() {
  const [search, change] = useUrl();
  const { refresh } = useClock();
  const language = languageOf(one(search.lang));
  const asked = one(search.q) ?? "";
  const [text, setText] = useState(asked);
  // Another page's link or the back button changes what is asked; the editor follows.
  useEffect(() => setText(asked), [asked, language.id]);

  const run = (query = text) => {
    if (query.trim() === asked) refresh();
    else change({ lang: language.id, q: query.trim() });
  };
  // The languages do not share queries: the one left behind is kept until the page is.
  const [drafts, setDrafts] = useState<Partial<Record<string, string>>>({});
  const speak = (id: string) => {
    setDrafts({ ...drafts, [language.id]: text });
    change({ lang: id, q: drafts[id] ?? "", view: undefined });
  };

  return (
    <Stack gap="sm">
      <Group justify="space-between" gap="xs">
        <Group gap="sm">
          <Title order={1} size="h4">Explore {language.asks}</Title>
          <SegmentedControl
            size="xs" aria-label="Query language" value={language.id} onChange={speak}
            data={LANGUAGES.map(({ id, name }) => ({ value: id, label: name }))}
          />
        </Group>
        <Group gap={6}>
          <Button size="xs" variant="default" leftSection={<IconCopy size={14} />} onClick={() => void navigator.clipboard?.writeText(location.href)}>Copy link</Button>
          <Button size="xs" leftSection={<IconPlayerPlay size={14} />} onClick={() => run()} title="Ctrl+Enter">Run</Button>
        </Group>
      </Group>
      <Suspense fallback={<Loader size="sm" data-state="loading" />}>
        <Editor language={language.id} value={text} onChange={setText} onRun={() => run()} />
      </Suspense>
      {asked ? <Suspense fallback={<Waiting height={200} />}><Result language={language} query={asked} /></Suspense> : <Examples language={language} onChoose={run} />}
    </Stack>
  );
}

function Result({ language, query }: { language: LanguageInfo; query: string }) {
  switch (language.id) {
    case "promql": return <MetricResult query={query} />;
    case "logql": return <LogResult query={query} />;
    case "traceql": return <TraceResult query={query} />;
    case "sql": return <SqlResult query={query} />;
  }
}

function Examples({ language, onChoose }: { language: LanguageInfo; onChoose: (query: string) => void }) {
  return (
    <section className="card" aria-label="Examples">
      <Text size="sm" c="dimmed" mb="xs">Or start from one of these.</Text>
      <Stack gap={6}>
        {language.examples.map((example) => (
          <UnstyledButton key={example.title} onClick={() => onChoose(example.query)} p={6} style={{ borderRadius: 6 }}>
            <Text size="sm" fw={600} c="var(--mantine-color-anchor)">{example.title}</Text>
            <Text className="mono" c="dimmed" style={{ whiteSpace: "pre-wrap" }}>{example.query}</Text>
          </UnstyledButton>
        ))}
      </Stack>
    </section>
  );
}
