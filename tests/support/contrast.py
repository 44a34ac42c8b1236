"""Text that is hard to read on a page, found in the browser."""

# WCAG 2.1, success criterion 1.4.3: at least 4.5 between text and the nearest ground behind it that is not see-through.
CONTRAST = """
const parts = (colour) => colour.match(/[\\d.]+/g).map(Number);
const light = (colour) => {
  const linear = (one) => (one <= 0.04045 ? one / 12.92 : ((one + 0.055) / 1.055) ** 2.4);
  const [r, g, b] = parts(colour).map((one) => linear(one / 255));
  return 0.2126 * r + 0.7152 * g + 0.0722 * b;
};
const ground = (one) => {
  for (; one; one = one.parentElement) {
    const found = getComputedStyle(one).backgroundColor;
    if ((parts(found)[3] ?? 1) === 1) return found;
  }
  return "rgb(255, 255, 255)";
};
const weak = new Set();
for (const one of document.querySelectorAll("body *")) {
  if (![...one.childNodes].some((node) => node.nodeType === 3 && node.textContent.trim())) continue;
  if (["SCRIPT", "STYLE", "OPTION"].includes(one.tagName) || one.closest("dialog")) continue;
  const [a, b] = [light(getComputedStyle(one).color), light(ground(one))].sort((x, y) => y - x);
  const contrast = (a + 0.05) / (b + 0.05);
  if (contrast < 4.5) weak.add(`${one.tagName}.${one.className}: ${contrast.toFixed(2)}`);
}
return [...weak];
"""
