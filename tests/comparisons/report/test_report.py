from comparisons.report import write_report
from comparisons.results.store import Store


def test_report_names_plugins_of_the_command_that_are_not_loaded(tmp_path, make_run):
    Store(tmp_path).save_plan("command", [make_run()], "mine2026", ["/x/mine.py"])
    paper, plugin = write_report(tmp_path).remarks
    assert "unknown paper 'mine2026'" in paper
    assert plugin.startswith("the last command loaded /x/mine.py")
    assert "--plugin" in paper
    assert "--plugin" in plugin


def test_report_without_figures_is_the_page_alone(tmp_path, make_result):
    Store(tmp_path).save(make_result())
    assert write_report(tmp_path, figures=False).pages == (tmp_path / "report.html",)
    assert {path.name for path in tmp_path.iterdir()} == {"runs", "report.html"}
