import torch

import saam


def test_a_report_is_short_in_a_shell_and_a_table_in_a_notebook() -> None:
    report = saam.attach(saam.create_model("resnet8"), "saam", example=torch.zeros(1, 3, 32, 32))
    assert repr(report) == "SurgeryReport(3 sites, +903 parameters)"
    page = report._repr_html_()
    assert '<th scope="row">layer1.0.bn2</th><td>16</td><td>+ saam</td><td>+65</td>' in page
    assert "<p>largest change of an output: 0</p>" in page
    assert [line.split()[0] for line in str(report).splitlines()[1:4]] == list(report.sites)
