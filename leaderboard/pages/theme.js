"use strict";
// Set before the first paint, so that no page flashes in the other colours.
(() => {
  const stored = () => { try { return localStorage.getItem("vlbench-theme"); } catch { return null; } };
  const keep = (name) => { try { localStorage.setItem("vlbench-theme", name); } catch { /* a browser may forbid it */ } };
  const dark = () => {
    const chosen = document.documentElement.dataset.theme;
    return chosen ? chosen === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
  };
  const name = stored();
  if (name === "dark" || name === "light") document.documentElement.dataset.theme = name;
  document.addEventListener("DOMContentLoaded", () => {
    const button = document.getElementById("theme");
    const label = () => { button.textContent = dark() ? "Light colours" : "Dark colours"; };
    button.addEventListener("click", () => {
      const next = dark() ? "light" : "dark";
      document.documentElement.dataset.theme = next;
      keep(next);
      label();
    });
    label();
  });
})();
