(() => {
  const specs = JSON.parse(document.getElementById("specs").textContent);
  const theme = () => {
    const css = getComputedStyle(document.documentElement);
    const [ink, soft, line, font] = ["--ink", "--soft", "--line", "--sans"].map((name) => css.getPropertyValue(name).trim());
    const text = { labelFont: font, titleFont: font, labelFontSize: 12, titleFontSize: 12, labelColor: ink, titleColor: soft };
    return {
      background: "transparent",
      view: { stroke: null },
      font,
      axis: { ...text, titleFontWeight: 400, gridColor: line, domainColor: line, tickColor: line, labelLimit: 170, labelSeparation: 6 },
      axisY: { titlePadding: 10 },
      legend: { ...text, orient: "bottom", symbolStrokeWidth: 3, symbolType: "circle", labelLimit: 260 },
      rule: { color: soft },
      text: { color: ink, font },
    };
  };
  const draw = () => {
    for (const place of document.querySelectorAll("[data-chart]")) {
      const options = { mode: "vega-lite", renderer: "svg", actions: false, ast: true, config: theme() };
      vegaEmbed(place, specs[Number(place.dataset.chart)], options).catch((error) => {
        place.className = "failed";
        place.textContent = `This chart could not be drawn: ${error.message}`;
      });
    }
  };
  draw();
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);
})();
