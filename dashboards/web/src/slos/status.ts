// How the states of an SLO are shown: a word and a sign beside the colour.

import { IconAlertTriangle, IconCircleCheck, IconFlame, IconHelp } from "@tabler/icons-react";

export const STATUS = {
  ok: { word: "kept", color: "green", icon: IconCircleCheck },
  burning: { word: "burning", color: "red", icon: IconFlame },
  exhausted: { word: "budget spent", color: "red", icon: IconAlertTriangle },
  unknown: { word: "unknown", color: "gray", icon: IconHelp },
} as const;
