// Remembers what the reader chose, for as long as the tab is open, so that a reload loses nothing.

const prefix = `${location.pathname}: `;

export function remembered(name, fallback) {
  try {
    const text = sessionStorage.getItem(prefix + name);
    return text === null ? fallback : JSON.parse(text);
  } catch {
    return fallback; // A browser may refuse to store anything for a file.
  }
}

export function remember(name, value) {
  try {
    sessionStorage.setItem(prefix + name, JSON.stringify(value));
  } catch {
    // The page works without it.
  }
}
