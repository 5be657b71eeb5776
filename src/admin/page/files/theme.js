// The chosen theme, before anything is drawn.
try {
  const theme = localStorage.getItem('ringroad-theme');
  if (theme === 'light' || theme === 'dark') document.documentElement.dataset.theme = theme;
} catch {
  // A browser that keeps nothing.
}
