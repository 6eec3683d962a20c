"""The records name every figure once, for arms and studies that there are."""

from pzlib.studies.claims import PAPERS
from pzlib.studies.exhibits import EXHIBITS
from pzlib.studies.records import LEDGER, STUDIES


def test_every_study_has_figures_and_every_file_is_named_once():
    figures = [figure for study in STUDIES.values() for figure in study.figures]
    listed = {study for one in EXHIBITS for study, _ in one.studies}
    assert all(study.figures or name in listed for name, study in STUDIES.items())
    names = [figure.name for figure in figures] + [LEDGER.name.format(paper) for paper in PAPERS]
    assert len(names) == len(set(names)) and not any("{" in name for name in names)
    assert {"main_result", "collapse_curves", "side_by_time", "baselines_beside_the_paper", "claims_rpt"} <= set(names)


def test_figures_show_arms_and_studies_that_there_are():
    for study in STUDIES.values():
        for figure in study.figures:
            assert set(figure.arms) <= set(study.arms) and set(figure.others) <= set(STUDIES)
