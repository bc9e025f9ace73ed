// Colours of series, readable on their background (3:1 at least), and a dash for those that share a colour.

const LIGHT = ["#1c6fb4", "#c84a0c", "#2b8a3e", "#9c36b5", "#9a7400", "#0b7285", "#c2255c", "#5f3dc4", "#5c8a0a", "#56606b"];
const DARK = ["#5aa9e6", "#ff8c5a", "#69c97d", "#da8ee7", "#f2c14e", "#4fc3c7", "#f783ac", "#a592f0", "#b5d94c", "#adb5bd"];
const DASHES: number[][] = [[], [7, 4], [2, 3], [10, 3, 2, 3]];

export interface Stroke {
  color: string;
  dash: number[];
}

export function stroke(index: number, dark: boolean): Stroke {
  const colors = dark ? DARK : LIGHT;
  return {
    color: colors[index % colors.length] ?? "#888888",
    dash: DASHES[Math.floor(index / colors.length) % DASHES.length] ?? [],
  };
}

/** The colour names of Grafana's dashboards; anything else is a CSS colour already. */
const NAMED: Record<string, [light: string, dark: string]> = {
  green: ["#2b8a3e", "#69c97d"], red: ["#c92a2a", "#ff7b7b"], orange: ["#c84a0c", "#ff9f5a"],
  yellow: ["#9a7400", "#f2c14e"], blue: ["#1c6fb4", "#5aa9e6"], purple: ["#7b2fa8", "#c08be0"],
  text: ["#1c2733", "#d8dee6"], transparent: ["transparent", "transparent"],
};

export function named(color: string, dark: boolean): string {
  const plain = color.replace(/^(super-light|light|semi-dark|dark)-/, "");
  const known = NAMED[plain];
  return known ? known[dark ? 1 : 0] : color;
}
