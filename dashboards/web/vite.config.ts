import react from "@vitejs/plugin-react";
import { readdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import { defineConfig, type Plugin } from "vite";

/** Browsers take brotli over TLS only, and the page is often on plain http: so gzip, once, here. */
function compressed(): Plugin {
  return {
    name: "compressed",
    apply: "build",
    closeBundle() {
      const folder = join(import.meta.dirname, "dist/assets");
      for (const name of readdirSync(folder)) {
        const path = join(folder, name);
        if (!/\.(js|css|svg)$/.test(name) || statSync(path).size < 1024) continue;
        writeFileSync(`${path}.gz`, gzipSync(readFileSync(path), { level: 9 }));
      }
    },
  };
}

const server = process.env.BINNACLE_URL ?? "http://127.0.0.1:7400";
const apis = ["/api", "/loki", "/tempo", "/health", "/metrics", "/cost"];

export default defineConfig({
  plugins: [react(), compressed()],
  build: { target: "es2022", chunkSizeWarningLimit: 700 },
  server: { proxy: Object.fromEntries(apis.map((path) => [path, server])) },
  test: { environment: "node", include: ["src/**/*.test.ts"] },
} as Parameters<typeof defineConfig>[0]);
