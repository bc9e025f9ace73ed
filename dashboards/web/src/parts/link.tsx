// A link to another page that takes the time range along.

import { Link, useNavigate, useSearch } from "@tanstack/react-router";
import type { ReactNode } from "react";
import type { Search } from "../url";

const KEPT = ["from", "to", "refresh"];

export function kept(search: Search): Search {
  return Object.fromEntries(KEPT.filter((name) => search[name] !== undefined).map((name) => [name, search[name]]));
}

interface Properties {
  to: string;
  search?: Search;
  children: ReactNode;
  className?: string;
  "aria-label"?: string;
}

export function To({ to, search, children, ...rest }: Properties) {
  const here = useSearch({ strict: false }) as Search;
  return (
    <Link to={to as "/"} search={{ ...kept(here), ...search } as never} style={{ color: "var(--mantine-color-anchor)" }} {...rest}>
      {children}
    </Link>
  );
}

export function useGo(): (to: string, search?: Search) => void {
  const here = useSearch({ strict: false }) as Search;
  const navigate = useNavigate();
  return (to, search) => void navigate({ to: to as "/", search: { ...kept(here), ...search } as never });
}
