// Starts every part of the page. Without scripts the page still shows all its tables.
import { drawCurves } from "page/curves";
import { startFigures } from "page/figures";
import { startLive } from "page/live";
import { startMatrix } from "page/matrix";
import { drawModel } from "page/model_figures";
import { startPicker } from "page/picker";
import { startPrint } from "page/print";
import { startSettings } from "page/setting_dialog";
import { drawSizes } from "page/sizes";
import { drawSpeed } from "page/speed_figure";
import { startTables } from "page/tables";
import { startTabs } from "page/tabs";
import { startTheme } from "page/theme";

startTheme();
startSettings();
startTabs();
startMatrix();
startTables();
startPicker();
startFigures({ curves: drawCurves, sizes: drawSizes, model: drawModel, speed: drawSpeed });
startPrint();
startLive();
document.documentElement.dataset.ready = "";
