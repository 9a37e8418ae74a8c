// Loaded before anything is drawn: the colours that were chosen here, if not those of the system.
try {
  const chosen = localStorage.getItem("agentd-theme");
  if (chosen === "light" || chosen === "dark") document.documentElement.dataset.theme = chosen;
} catch {
  /* no storage: the system's it is */
}
