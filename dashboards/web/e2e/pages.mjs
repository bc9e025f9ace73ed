// Opens every page of a running Binnacle in a real Chromium, light and dark, and fails when one shows an error or no
// data. BINNACLE_URL says where it runs (with --demo); SCREENSHOTS names a folder for pictures.

import { mkdirSync } from "node:fs";
import { chromium } from "playwright-core";

const server = (process.env.BINNACLE_URL ?? "http://127.0.0.1:7400").replace(/\/$/, "");
const pictures = process.env.SCREENSHOTS;
const only = process.env.ONLY;
/** Data may still be on its way: rates need two scrapes. */
const PATIENCE_MS = Number(process.env.PATIENCE_MS ?? 60_000);
const FIRST_PAINT_MS = 2000;
/** What a browser must fetch to show the first page, compressed. */
const FIRST_SCREEN_BYTES = 300_000;
const WIDTHS = [1440, 900];

/** Panels and cards that may rightly have nothing to show: no request failed, a container sees no disk. */
const MAY_BE_EMPTY = [
  "Disks", "Disk traffic", "Disks busy", "Fullest disk", "Filesystems", "Failed requests by service", "Log lines that report trouble",
  "Latest lines of this machine and its containers", "Its log lines", "Logs and resource", "Pressure: the share of time in which some task waited",
];

const explore = (lang, q) => `/explore?from=now-15m&to=now&lang=${lang}&q=${encodeURIComponent(q)}`;

const PAGES = [
  { name: "now", path: "/", needs: { "[data-now]": 1, '[data-state="chart"]': 2, '[aria-label="Services"] tbody tr': 5, "[data-bottleneck]": 1 } },
  { name: "now-why", path: `/?why=${encodeURIComponent("orders: pool.acquire")}`, needs: { '[aria-label="What is different"] tbody tr': 3 } },
  { name: "explore", path: "/explore", needs: { ".cm-content": 1, '[aria-label="Examples"] button': 3 } },
  { name: "explore-promql", path: explore("promql", "sum by (mode) (rate(node_cpu_seconds_total[1m]))"), needs: { '[data-state="chart"]': 1 } },
  { name: "explore-promql-table", path: `${explore("promql", "node_load1")}&view=table`, needs: { "tbody tr": 1 } },
  { name: "explore-logql", path: explore("logql", '{service_name=~".+"}'), needs: { ".log-line": 3 } },
  { name: "explore-logql-rate", path: explore("logql", 'sum by (service_name) (rate({service_name=~".+"}[1m]))'), needs: { '[data-state="chart"]': 1 } },
  { name: "explore-traceql", path: explore("traceql", "{ duration > 1ms }"), needs: { "tbody tr": 3 } },
  { name: "explore-traceql-rate", path: explore("traceql", "{ } | rate() by (resource.service.name)"), needs: { '[data-state="chart"]': 1 } },
  { name: "explore-sql", path: explore("sql", "select service, count(*) as spans from spans group by service order by spans desc limit 10"), needs: { "tbody tr": 5 } },
  { name: "dashboards", path: "/dashboards", needs: { "section.card a": 4 } },
  { name: "alerts", path: "/alerts", needs: { "[aria-label^=Group]": 1 } },
  { name: "alerts-recording", path: "/alerts?kind=recording", needs: { "[aria-label^=Group]": 1 } },
  { name: "slos", path: "/slos", needs: { '.grid-2 section.card': 1 } },
];

const problems = [];
const browser = await chromium.launch({
  executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
  // Containers that run tests often have no user namespaces and a small /dev/shm.
  args: ["--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu"],
});
try {
  const { dashboards } = await (await fetch(`${server}/api/dashboards`)).json();
  for (const dashboard of dashboards) {
    PAGES.push({ name: `dashboard-${dashboard.uid}`, path: `/dashboards/${dashboard.uid}`, needs: { "[data-panel]": 4 }, scroll: true });
  }
  for (const colorScheme of ["light", "dark"]) {
    const context = await browser.newContext({ colorScheme, viewport: { width: WIDTHS[0], height: 900 } });
    const page = await context.newPage();
    listen(page);
    if (!only || only === "weight") await weight(page);
    for (const wanted of PAGES) if (!only || wanted.name.includes(only)) await visit(page, wanted, colorScheme);
    if (!only || only === "trace") await trace(page, colorScheme);
    if (!only || only === "drag") await drag(page, colorScheme);
    if (!only || only === "newcomer") await newcomer(page, colorScheme);
    if (!only || only === "keys") await keys(page);
    if (!only || only === "mistakes") await mistakes(page);
    await context.close();
  }
} finally {
  await browser.close();
}
if (problems.length > 0) {
  console.error(problems.map((problem) => `FAILED ${problem}`).join("\n"));
  process.exit(1);
}

/** What the browser itself complains about belongs to the page that is open. */
function listen(page) {
  page.heard = [];
  page.on("pageerror", (error) => page.heard.push(`exception: ${error.message}`));
  page.on("console", (message) => {
    if (message.type() === "error") page.heard.push(`console: ${message.text()}`);
  });
  page.on("response", (response) => {
    if (response.status() >= 400) page.heard.push(`${response.status()} ${response.url()}`);
  });
}

async function visit(page, { name, path, needs, scroll }, scheme) {
  page.heard.length = 0;
  const started = Date.now();
  await page.goto(server + path, { waitUntil: "load" });
  const paintMs = await firstPaint(page);
  await page.waitForSelector("h1", { timeout: PATIENCE_MS }).catch(() => undefined);
  const headingMs = await page.evaluate(() => performance.now());
  const ends = started + PATIENCE_MS;
  let wrong = [];
  for (;;) {
    await settled(page, scroll);
    wrong = await page.evaluate(inspect, { needs, mayBeEmpty: MAY_BE_EMPTY });
    if (wrong.length === 0 || Date.now() > ends) break;
    // The page's own refresh key: data that was on its way is asked for again.
    await page.waitForTimeout(1000);
    page.heard.length = 0;
    await page.keyboard.press("r");
  }
  if (page.heard.length > 0) wrong.push(...new Set(page.heard));
  for (const width of WIDTHS.slice(1)) {
    await page.setViewportSize({ width, height: 900 });
    // Charts follow in the next frame.
    await page.evaluate(() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done))));
    if (await page.evaluate(() => document.documentElement.scrollWidth > window.innerWidth + 1)) wrong.push(`scrolls sideways when ${width} wide`);
    if (pictures) {
      mkdirSync(pictures, { recursive: true });
      await page.screenshot({ path: `${pictures}/${name}-${scheme}-${width}.png`, fullPage: true });
    }
  }
  await page.setViewportSize({ width: WIDTHS[0], height: 900 });
  if (paintMs > FIRST_PAINT_MS) wrong.push(`first paint after ${Math.round(paintMs)} ms, ${FIRST_PAINT_MS} are allowed`);
  if ((await page.evaluate(() => document.documentElement.dataset.mantineColorScheme)) !== scheme) wrong.push(`is not ${scheme}`);
  await done(page, name, scheme, wrong, `first paint ${Math.round(paintMs)} ms, heading ${Math.round(headingMs)} ms`);
}

async function done(page, name, scheme, wrong, note) {
  if (pictures) {
    mkdirSync(pictures, { recursive: true });
    await page.screenshot({ path: `${pictures}/${name}-${scheme}.png`, fullPage: true });
  }
  console.log(`${wrong.length === 0 ? "ok" : "FAILED"} ${name} ${scheme}${note ? ` (${note})` : ""}`);
  problems.push(...wrong.map((text) => `${name} ${scheme}: ${text}`));
}

async function firstPaint(page) {
  const handle = await page.waitForFunction(() => performance.getEntriesByName("first-contentful-paint")[0]?.startTime, null, { timeout: PATIENCE_MS });
  return handle.jsonValue();
}

/** Nothing says that it is loading; panels below the fold load when they are scrolled to. */
async function settled(page, scroll) {
  await page.waitForSelector("h1", { timeout: PATIENCE_MS });
  if (scroll) {
    const panels = await page.$$("[data-panel]");
    for (const panel of panels) {
      await panel.scrollIntoViewIfNeeded().catch(() => undefined);
      // Whether it is in sight is told in the next frame.
      await page.evaluate(() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done))));
    }
    await page.evaluate(() => window.scrollTo(0, 0));
  }
  await page.waitForFunction(() => !document.querySelector('[data-state="loading"]'), null, { timeout: PATIENCE_MS }).catch(() => undefined);
}

/** Runs in the page. Says what is wrong with it. */
function inspect({ needs, mayBeEmpty }) {
  const wrong = [];
  const where = (element) => element.closest("[aria-label]")?.getAttribute("aria-label") ?? "page";
  for (const element of document.querySelectorAll('[data-state="error"]')) wrong.push(`error in ${where(element.parentElement)}: ${element.textContent}`);
  for (const element of document.querySelectorAll('[data-state="loading"]')) wrong.push(`still loading: ${where(element.parentElement)}`);
  for (const element of document.querySelectorAll('[data-state="empty"]')) {
    const name = where(element.parentElement);
    // Alerts that do not fire are no lack of data.
    if (location.pathname === "/alerts" || mayBeEmpty.includes(name)) continue;
    wrong.push(`nothing in ${name}: ${element.textContent}`);
  }
  for (const [selector, least] of Object.entries(needs)) {
    const count = document.querySelectorAll(selector).length;
    if (count < least) wrong.push(`${count} of ${selector}, at least ${least} expected`);
  }
  for (const canvas of document.querySelectorAll('[data-state="chart"] canvas')) {
    const pixels = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data;
    let drawn = 0;
    for (let at = 3; at < pixels.length; at += 4) if (pixels[at] > 0) drawn++;
    if (drawn < 200) wrong.push(`an empty chart in ${where(canvas.parentElement)}`);
  }
  if (document.querySelectorAll("h1").length !== 1) wrong.push(`${document.querySelectorAll("h1").length} first headings`);
  for (const control of document.querySelectorAll("button, a[href], input, [role=img]")) {
    if (control.tagName === "BUTTON" && control.tabIndex < 0) continue;
    const name = control.getAttribute("aria-label") || control.textContent.trim() || control.getAttribute("title") || control.labels?.[0]?.textContent || control.getAttribute("aria-labelledby");
    if (!name && control.type !== "hidden" && control.checkVisibility()) wrong.push(`a control without a name: ${control.outerHTML.slice(0, 120)}`);
  }
  if (document.documentElement.scrollWidth > window.innerWidth + 1) wrong.push("the page scrolls sideways");
  return wrong;
}

/** Scripts, styles and the document of the first page, as they came over the wire. */
async function weight(page) {
  await page.goto(server + "/", { waitUntil: "load" });
  await page.waitForSelector("[data-now]", { timeout: PATIENCE_MS });
  const bytes = await page.evaluate(() =>
    [...performance.getEntriesByType("navigation"), ...performance.getEntriesByType("resource")]
      .filter((entry) => !new URL(entry.name).pathname.match(/^\/(api|loki|tempo)\//))
      .reduce((sum, entry) => sum + entry.transferSize, 0));
  const wrong = bytes > FIRST_SCREEN_BYTES || bytes === 0 ? [`the first screen weighs ${bytes} bytes, ${FIRST_SCREEN_BYTES} are allowed`] : [];
  await done(page, "weight", "any", wrong, `${Math.round(bytes / 1000)} kB`);
}

/** Who has never seen the shop finds its bottleneck: one click from the first page to the span that waits, and its log line. */
async function newcomer(page, scheme) {
  const wrong = [];
  page.heard.length = 0;
  await page.goto(server + "/");
  const found = await page.waitForSelector("[data-bottleneck]", { timeout: PATIENCE_MS });
  const said = await found.textContent();
  if (!/^orders waits in pool\.acquire: that adds (2[89]|3[01])\d ms to (1\d(\.\d+)?) % of requests/.test(said)) wrong.push(`the first page says: ${said}`);
  // What was read is clicked, also when a refresh has put another finding above it meanwhile.
  await page.locator("[data-bottleneck]", { hasText: "orders waits in pool.acquire" }).first().locator("button").first().click();
  await page.waitForSelector('[data-state="waterfall"]', { timeout: PATIENCE_MS });
  await settled(page, false);
  const span = await page.textContent('[aria-label="Chosen span"]');
  if (!span.includes("orders: pool.acquire")) wrong.push(`the trace opens at ${span.slice(0, 80)}`);
  // Ten requests a second: what is usual is known, drawn below the bars and said of the chosen span.
  const usual = await page.waitForSelector("[data-usual-of]", { timeout: PATIENCE_MS }).catch(() => null);
  if (!/^This span normally takes .*\(p50\) to .*\(p95\), by [\d,. ]+ of them/.test((await usual?.textContent()) ?? "")) wrong.push("it is not said what the span usually takes");
  const marks = await page.locator("[data-usual] .span-usual").count();
  if (marks < 2) wrong.push(`${marks} bars show what is usual`);
  if ((await page.locator(".span-bar.critical").count()) < 2) wrong.push("no critical path is outlined");
  const line = await page.waitForSelector("text=connection pool orders-db exhausted", { timeout: 10_000 }).catch(() => null);
  if (!line) wrong.push("the log line of the wait is not shown");
  wrong.push(...new Set(page.heard));
  await done(page, "newcomer", scheme, wrong);
}

/** From a search, by keyboard, to a waterfall. */
async function trace(page, scheme) {
  const wrong = [];
  page.heard.length = 0;
  await page.goto(server + explore("traceql", "{ duration > 300ms }"));
  await page.waitForSelector("tbody tr[role=link]", { timeout: PATIENCE_MS });
  await page.focus("tbody tr[role=link]");
  await page.keyboard.press("Enter");
  await page.waitForSelector('[data-state="waterfall"]', { timeout: PATIENCE_MS }).catch(() => wrong.push("no waterfall opened"));
  await settled(page, false);
  wrong.push(...(await page.evaluate(inspect, { needs: { ".span-bar": 2, '[aria-label="Chosen span"]': 1 }, mayBeEmpty: MAY_BE_EMPTY })));
  const before = page.url();
  await page.focus("[role=treegrid]");
  await page.keyboard.press("Home");
  await page.keyboard.press("j");
  await page.waitForFunction(() => document.querySelector('[role=row][aria-selected="true"]'), null, { timeout: 5000 }).catch(() => wrong.push("no span is selected"));
  if (!page.url().includes("span=")) wrong.push(`the chosen span is not in the URL: ${before}`);
  wrong.push(...new Set(page.heard));
  await done(page, "trace", scheme, wrong);
}

/** A drag over a graph marks a time; what tells its traces from the rest is asked for. */
async function drag(page, scheme) {
  const wrong = [];
  page.heard.length = 0;
  await page.goto(server + explore("traceql", "{ kind = server } | rate() by (resource.service.name)"));
  await page.waitForSelector(".u-over", { timeout: PATIENCE_MS });
  await settled(page, false);
  // A refresh draws the graph anew: it is looked for now.
  const { x, y, width, height } = await page.locator(".u-over").first().boundingBox();
  // The newest traces: those before may be none.
  await page.mouse.move(x + width * 0.9, y + height / 2);
  await page.mouse.down();
  await page.mouse.move(x + width * 0.99, y + height / 2, { steps: 5 });
  await page.mouse.up();
  const marked = await page.waitForSelector("[data-part]", { timeout: 5000 }).catch(() => null);
  if (!marked || !page.url().includes("part=")) wrong.push("a drag marks no time");
  await marked?.$("button >> nth=0").then((button) => button?.click());
  const asked = await page.waitForSelector('[aria-label="What is different"] tbody tr, :text("tells the traces of that time")', { timeout: PATIENCE_MS }).catch(() => null);
  if (!asked) wrong.push("nothing is compared");
  await settled(page, false);
  wrong.push(...new Set(page.heard));
  await done(page, "drag", scheme, wrong);
}

/** Pages, help and time range by keys alone. */
async function keys(page) {
  const wrong = [];
  await page.goto(server + "/alerts");
  await page.waitForSelector("h1");
  for (const [key, path] of [["e", "/explore"], ["d", "/dashboards"], ["s", "/slos"], ["n", "/"]]) {
    await page.evaluate(() => document.activeElement?.blur?.());
    await page.keyboard.press("g");
    await page.keyboard.press(key);
    await page.waitForFunction((wanted) => location.pathname === wanted, path, { timeout: 5000 }).catch(() => wrong.push(`g ${key} does not lead to ${path}`));
    await page.waitForSelector("h1");
  }
  // From a page without a search box to Explore's.
  await page.keyboard.press("/");
  await page.waitForFunction(() => location.pathname === "/explore" && document.activeElement?.classList.contains("cm-content"), null, { timeout: 10_000 }).catch(() => wrong.push("/ does not lead from the first page to Explore's query"));
  await page.keyboard.press("Escape");
  await page.keyboard.press("t");
  await page.waitForSelector("text=Last 7 days", { timeout: 5000 }).catch(() => wrong.push("t does not open the time range"));
  await page.keyboard.press("Escape");
  await page.goto(server + "/explore");
  await page.waitForSelector(".cm-content");
  await page.keyboard.press("/");
  if (!(await page.evaluate(() => document.activeElement?.classList.contains("cm-content")))) wrong.push("/ does not lead to the query");
  await page.keyboard.type("node_loa");
  const offered = await page.waitForSelector(".cm-tooltip-autocomplete li", { timeout: 10_000 }).catch(() => null);
  if (!(await offered?.textContent())?.includes("node_load")) wrong.push("the editor does not complete a metric's name");
  await page.keyboard.press("Escape");
  await page.focus(".cm-content");
  await page.keyboard.press("Control+a");
  await page.keyboard.type("1 + 1");
  await page.keyboard.press("Control+Enter");
  await page.waitForSelector('[data-state="chart"]', { timeout: PATIENCE_MS }).catch(() => wrong.push("Ctrl+Enter does not run the query"));
  await done(page, "keys", "any", wrong);
}

/** A wrong query is told where it is wrong; an unknown trace is told apart from a failure. */
async function mistakes(page) {
  const wrong = [];
  for (const [path, word] of [[explore("promql", "sum(("), /./], [explore("logql", "{"), /./], [explore("traceql", "{ duration > }"), /./], [explore("sql", "selec 1"), /./], [`/trace/${"0".repeat(31)}9`, /no trace|not found/i]]) {
    await page.goto(server + path);
    const error = await page.waitForSelector('[data-state="error"]', { timeout: PATIENCE_MS }).catch(() => null);
    const text = (await error?.textContent()) ?? "";
    if (!word.test(text)) wrong.push(`${path} shows no error in words: ${text}`);
    else if (process.env.VERBOSE) console.log(`  ${path}: ${text}`);
  }
  await done(page, "mistakes", "any", wrong);
}
