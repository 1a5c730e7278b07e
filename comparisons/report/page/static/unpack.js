// Opens what the page holds compressed: its data, and the two libraries, each when it is needed.

async function unpacked(id) {
  const text = document.getElementById(id).textContent.trim();
  const bytes = Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  return new Response(stream);
}

async function scriptAddress(id) {
  const response = await unpacked(id);
  return URL.createObjectURL(new Blob([await response.text()], { type: "text/javascript" }));
}

function once(load) {
  let promise;
  return () => (promise ??= load());
}

export const data = await (await unpacked("page-data")).json();

export const plotly = once(async () => {
  const script = document.createElement("script");
  script.src = await scriptAddress("library-plotly");
  await new Promise((resolve, reject) => {
    script.onload = resolve;
    script.onerror = reject;
    document.head.append(script);
  });
  return window.Plotly;
});

export const dataTables = once(async () => {
  const module = await import(await scriptAddress("library-datatables"));
  return module.default;
});
