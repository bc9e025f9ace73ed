import react from "@vitejs/plugin-react";
import { existsSync, readdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import { defineConfig, type Plugin } from "vite";

/** What the page is built from has licences that ask to be passed on: `/licenses.txt`. */
function licenses(): Plugin {
  return {
    name: "licenses",
    apply: "build",
    generateBundle() {
      const lock = JSON.parse(readFileSync("package-lock.json", "utf8")) as { packages: Record<string, { version?: string; license?: string; dev?: boolean }> };
      const texts = Object.entries(lock.packages).flatMap(([folder, { version, license, dev }]) => {
        if (folder === "" || dev || !existsSync(folder)) return [];
        const file = readdirSync(folder).find((name) => /^licen[cs]e/i.test(name));
        const text = file ? readFileSync(join(folder, file), "utf8").trim() : "";
        return [`${folder.replace(/^.*node_modules\//, "")} ${version ?? ""}, ${license ?? "see its text"}\n\n${text}`];
      });
      this.emitFile({ type: "asset", fileName: "licenses.txt", source: texts.join(`\n\n${"-".repeat(80)}\n\n`) });
    },
  };
}

/** Browsers take brotli over TLS only, and the page is often on plain http: so gzip, once, here. */
function compressed(): Plugin {
  return {
    name: "compressed",
    apply: "build",
    closeBundle() {
      const folder = join(import.meta.dirname, "dist");
      for (const name of readdirSync(folder, { recursive: true, encoding: "utf8" })) {
        const path = join(folder, name);
        if (!/\.(js|css|svg|txt)$/.test(name) || statSync(path).size < 1024) continue;
        writeFileSync(`${path}.gz`, gzipSync(readFileSync(path), { level: 9 }));
      }
    },
  };
}

const server = process.env.BINNACLE_URL ?? "http://127.0.0.1:7400";
const apis = ["/api", "/loki", "/tempo", "/health", "/metrics", "/cost"];

export default defineConfig({
  plugins: [react(), licenses(), compressed()],
  build: { target: "es2022", chunkSizeWarningLimit: 700 },
  server: { proxy: Object.fromEntries(apis.map((path) => [path, server])) },
  test: { environment: "node", include: ["src/**/*.test.ts"] },
} as Parameters<typeof defineConfig>[0]);
