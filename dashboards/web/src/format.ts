// A number with its unit, under the unit names of Grafana's dashboards.

const SI = ["", " K", " M", " G", " T", " P"];
const DECIMAL_BYTES = [" B", " kB", " MB", " GB", " TB", " PB"];
const BINARY_BYTES = [" B", " KiB", " MiB", " GiB", " TiB", " PiB"];

function scaled(value: number, base: number, names: string[], decimals?: number): string {
  const size = Math.abs(value);
  let at = 0;
  while (at < names.length - 1 && size >= base ** (at + 1)) at++;
  return number(value / base ** at, decimals) + names[at];
}

/** Three significant digits unless `decimals` says otherwise. */
export function number(value: number, decimals?: number): string {
  if (decimals !== undefined) return value.toFixed(decimals);
  const size = Math.abs(value);
  if (size === 0) return "0";
  if (size >= 1e15 || size < 1e-6) return value.toExponential(2);
  const digits = size >= 100 ? 0 : size >= 10 ? 1 : size >= 1 ? 2 : Math.min(8, 2 - Math.floor(Math.log10(size)));
  return String(Number(value.toFixed(digits)));
}

/** Seconds as people say them. */
export function seconds(value: number, decimals?: number): string {
  const size = Math.abs(value);
  if (size === 0) return "0 s";
  if (size < 1e-6) return `${number(value * 1e9, decimals)} ns`;
  if (size < 1e-3) return `${number(value * 1e6, decimals)} µs`;
  if (size < 1) return `${number(value * 1e3, decimals)} ms`;
  if (size < 120) return `${number(value, decimals)} s`;
  if (size < 7200) return `${number(value / 60, decimals)} min`;
  if (size < 172_800) return `${number(value / 3600, decimals)} h`;
  return `${number(value / 86_400, decimals)} days`;
}

export function format(value: number | null | undefined, unit = "short", decimals?: number): string {
  if (value === null || value === undefined || Number.isNaN(value)) return "–";
  if (!Number.isFinite(value)) return value > 0 ? "∞" : "−∞";
  switch (unit) {
    case "percent": return `${number(value, decimals)} %`;
    case "percentunit": return `${number(value * 100, decimals)} %`;
    case "bytes": case "kbytes": case "mbytes": case "gbytes": {
      const factor = { bytes: 0, kbytes: 1, mbytes: 2, gbytes: 3 }[unit];
      return scaled(value * 1024 ** factor, 1024, BINARY_BYTES, decimals);
    }
    case "decbytes": return scaled(value, 1000, DECIMAL_BYTES, decimals);
    case "Bps": case "decBps": return `${scaled(value, 1000, DECIMAL_BYTES, decimals)}/s`;
    case "binBps": return `${scaled(value, 1024, BINARY_BYTES, decimals)}/s`;
    case "bps": case "decbps": return `${scaled(value, 1000, [" b", " kb", " Mb", " Gb", " Tb"], decimals)}/s`;
    case "s": case "dtdurations": return seconds(value, decimals);
    case "ms": case "dtdurationms": return seconds(value / 1e3, decimals);
    case "µs": return seconds(value / 1e6, decimals);
    case "ns": return seconds(value / 1e9, decimals);
    case "m": return seconds(value * 60, decimals);
    case "h": return seconds(value * 3600, decimals);
    case "reqps": return `${scaled(value, 1000, SI, decimals)} req/s`;
    case "rps": case "ops": case "iops": case "wps": case "pps": case "cps":
      return `${scaled(value, 1000, SI, decimals)} ${unit === "pps" ? "packets/s" : unit === "rps" ? "reads/s" : unit === "wps" ? "writes/s" : "/s"}`;
    case "hertz": return scaled(value, 1000, [" Hz", " kHz", " MHz", " GHz"], decimals);
    case "celsius": return `${number(value, decimals)} °C`;
    case "currencyUSD": return money("$", value, decimals);
    case "currencyEUR": return money("€", value, decimals);
    case "currencyGBP": return money("£", value, decimals);
    case "none": return number(value, decimals);
    case "dateTimeFromNow": case "dateTimeAsIso": case "dateTimeAsLocal": return new Date(value).toLocaleString();
    case "short": case "": return scaled(value, 1000, SI, decimals);
    default:
      if (unit.startsWith("suffix:")) return `${number(value, decimals)} ${unit.slice(7)}`;
      if (unit.startsWith("prefix:")) return `${unit.slice(7)}${number(value, decimals)}`;
      return `${scaled(value, 1000, SI, decimals)} ${unit}`;
  }
}

/** A part of a whole, 0 to 1, in sentences and tables: below a hundredth of a percent nobody asks how far below. */
export function share(value: number | null | undefined): string {
  return value && Math.abs(value) < 1e-4 ? "<0.01 %" : format(value, "percentunit");
}

/** Two decimals from 1 to 1,000; smaller amounts as many as it takes to see three digits. */
function money(sign: string, value: number, decimals?: number): string {
  const size = Math.abs(value);
  // Nobody pays less than that; its zeros would only push the other columns aside.
  if (size > 0 && size < 1e-6 && decimals === undefined) return `<${sign}0.000001`;
  const digits = size === 0 || size >= 1 ? 2 : Math.min(10, Math.max(2, 2 - Math.floor(Math.log10(size))));
  const text = decimals !== undefined ? size.toFixed(decimals)
    : size >= 10_000 ? scaled(size, 1000, SI)
    : size >= 1000 ? size.toFixed(0)
    : size.toFixed(digits).replace(/(\.\d\d\d*?)0+$/, "$1");
  return `${value < 0 ? "−" : ""}${sign}${text}`;
}
