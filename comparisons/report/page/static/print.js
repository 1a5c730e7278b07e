// Prints the figures in light colours, whatever the screen shows.
import { redrawAll } from "page/figures";
import { setPrinting } from "page/theme";

export function startPrint() {
  addEventListener("beforeprint", () => {
    setPrinting(true);
    redrawAll({ unseen: true });
  });
  addEventListener("afterprint", () => {
    setPrinting(false);
    redrawAll({ unseen: true });
  });
}
