# SPDX-License-Identifier: GPL-3.0-or-later
"""The commands on one crate with the tiny untrained preset: what they print and leave behind."""

import json

import numpy as np
import pytest
import trimesh
from PIL import Image
from tiny_preset import VIEW_SIZE_PX, save_tiny_preset

from one2345_blender.contracts.errors import OptionError
from one2345_blender.evaluation import (
    elevation,
    meshes,
    pictures,
    samplers,
    segmenter,
    surface_scores,
    views,
)
from one2345_blender.evaluation.score_table import COLUMNS
from one2345_blender.training.cutouts import rgba_from_render
from one2345_blender.training.renders import load_rigs


def printed_rows(capsys) -> list[dict]:
    return [json.loads(line) for line in capsys.readouterr().out.splitlines() if line[0] == "{"]


def mesh_arguments(crate_set, output):
    folder = crate_set.folder
    options = {
        "--data": folder,
        "--packages": folder,
        "--manifest": folder / "manifest.json",
        "--output": output,
    }
    return [str(word) for option in options.items() for word in option]


def test_meshes_scores_the_pipeline_its_second_half_and_the_baselines(
    crate_set, tiny_preset, tmp_path, capsys
):
    preset = ["--preset", str(tiny_preset), "--device", "cpu", "--elevation-error-deg", "-5"]
    clip = ["--clip", str(tiny_preset / "image_encoder")]
    meshes.main([*mesh_arguments(crate_set, tmp_path), *preset, *clip])
    report = json.loads((tmp_path / meshes.SCORES_JSON).read_text())
    assert [row["object"] for row in report["objects"]] == [crate_set.asset_id]
    methods = [meshes.PIPELINE, meshes.TRUE_VIEWS, *meshes.SIMPLE_METHODS, meshes.REPEATED]
    assert list(report["means"]) == methods
    assert report["means"][meshes.PIPELINE]["elevation_error_deg"] == pytest.approx(5.0, abs=1e-3)
    assert report["means"][meshes.PIPELINE]["seconds"] > 0
    assert report["means"]["box of the true size"]["f_05"] > 0.999
    assert report["peak_memory_bytes"] > 0
    assert -1.0 <= report["means"][meshes.REPEATED]["novel_clip"] <= 1.0
    table = (tmp_path / meshes.TABLE_MD).read_text()
    assert table in capsys.readouterr().out
    assert sum(line.startswith("|") for line in table.splitlines()) == 2 + len(methods)
    assert "Elevation, whole pipeline: median error 5.0 degrees, 100 % within 10" in table
    assert "Volume IoU: of 1 closed models." in table
    assert "Peak memory" in table
    assert all(heading in table for heading, _ in COLUMNS.values())
    sheet = Image.open(tmp_path / meshes.SHEET_PNG)
    assert sheet.size == (9 * VIEW_SIZE_PX, 3 * VIEW_SIZE_PX)
    assert np.asarray(sheet)[:, :VIEW_SIZE_PX].min() < 200


def test_meshes_scores_what_a_preset_guesses_first(crate_set, tmp_path):
    preset = save_tiny_preset(tmp_path / "preset", lifts_photo=True)
    arguments = [*mesh_arguments(crate_set, tmp_path / "scores"), "--preset", str(preset)]
    meshes.main([*arguments, "--device", "cpu"])
    means = json.loads((tmp_path / "scores" / meshes.SCORES_JSON).read_text())["means"]
    assert list(means)[:3] == [meshes.PIPELINE, meshes.GUESS, meshes.TRUE_VIEWS]
    guess = means[meshes.GUESS]
    assert guess["elevation_error_deg"] == means[meshes.PIPELINE]["elevation_error_deg"]
    assert guess["without_mesh"] or guess["silhouette_iou"] > 0


def test_views_scores_what_zero123_draws_and_what_was_guessed(crate_set, tmp_path, capsys):
    preset = save_tiny_preset(tmp_path / "preset", lifts_photo=True)
    sheet = tmp_path / "sheet.png"
    arguments = ["--preset", str(preset), "--data", str(crate_set.folder), "--sheet", str(sheet)]
    views.main([*arguments, "--steps", "2"])
    rows = [line.strip("| ").split(" | ") for line in capsys.readouterr().out.splitlines()]
    kinds = ["level", "tilted", "near", "over 45 degrees", "all offsets"]
    assert [row[0] for row in rows[2:]] == [*kinds, *(f"{k}, the guess alone" for k in kinds)]
    assert all(0.0 <= float(row[2]) <= 1.0 for row in rows[2:])
    assert [row[3:] for row in rows[2:7]] == [row[3:] for row in rows[7:]]
    assert sheet.is_file()
    views.main([*arguments, "--sampling", "from-guess"])
    from_guess = [line.strip("| ").split(" | ") for line in capsys.readouterr().out.splitlines()]
    assert [row[1] for row in from_guess[2:7]] != [row[1] for row in rows[2:7]]
    assert from_guess[7:] == rows[7:]
    with pytest.raises(OptionError, match="no part 'far'"):
        views.main([*arguments, "--part", "far"])


def test_the_ablation_starts_from_the_whole_pipeline(crate_set, tiny_preset, tmp_path, monkeypatch):
    # both sides of each comparison are aligned alike, and how well is tested elsewhere
    monkeypatch.setattr(surface_scores, "_START_YAWS_DEG", (0,))
    monkeypatch.setattr(surface_scores, "_FINE_STEPS", 2)
    preset = ["--preset", str(tiny_preset), "--device", "cpu"]
    means = []
    for name, options in (("plain", []), ("ablation", ["--ablation"])):
        meshes.main([*mesh_arguments(crate_set, tmp_path / name), *preset, *options])
        means.append(json.loads((tmp_path / name / meshes.SCORES_JSON).read_text())["means"])
    plain, ablation = means
    for score in ("f_05", "silhouette_iou", "elevation_error_deg"):
        assert ablation[meshes.PIPELINE][score] == plain[meshes.PIPELINE][score]
        assert ablation["32 true near views"][score] == plain[meshes.TRUE_VIEWS][score]
    errors_deg = {
        name: row["elevation_error_deg"] for name, row in ablation.items() if "elevation" in name
    }
    assert errors_deg["elevation given"] == pytest.approx(0.0, abs=1e-3)
    assert errors_deg["elevation wrong by +20"] == pytest.approx(20.0, abs=1e-3)
    assert errors_deg["elevation wrong by -30"] == pytest.approx(30.0, abs=1e-3)
    truths = [
        ablation[name]["novel_psnr_db"] for name in ("8 true stage-1 views", "32 true near views")
    ]
    assert truths[0] != truths[1]


def test_a_level_set_below_all_distances_leaves_no_mesh(crate_set, tiny_preset, tmp_path):
    preset = ["--preset", str(tiny_preset), "--device", "cpu", "--iso-level", "-9"]
    meshes.main([*mesh_arguments(crate_set, tmp_path), *preset])
    report = json.loads((tmp_path / meshes.SCORES_JSON).read_text())
    assert report["iso_level"] == -9.0
    for method in (meshes.PIPELINE, meshes.TRUE_VIEWS):
        assert report["means"][method]["without_mesh"] == 1
        assert report["means"][method]["silhouette_iou"] == 0.0


def test_baselines_need_no_preset(crate_set, tmp_path):
    meshes.main([*mesh_arguments(crate_set, tmp_path), "--baselines-only"])
    means = json.loads((tmp_path / meshes.SCORES_JSON).read_text())["means"]
    assert list(means) == [*meshes.SIMPLE_METHODS, meshes.REPEATED]


def test_an_empty_test_set_is_an_error(crate_set, tmp_path):
    arguments = [*mesh_arguments(crate_set, tmp_path), "--baselines-only", "--part", "train"]
    with pytest.raises(OptionError, match="there are none"):
        meshes.main(arguments)


def test_data_and_manifest_must_belong_together(crate_set, tmp_path):
    for name, message in (("stranger", "not there"), (crate_set.asset_id, "there are none")):
        data = tmp_path / name
        data.mkdir()
        (data / "split.json").write_text(json.dumps({"val": [name]}))
        arguments = [*mesh_arguments(crate_set, tmp_path / "output"), "--baselines-only"]
        with pytest.raises(OptionError, match=message):
            meshes.main([*arguments, "--data", str(data)])


def test_a_folder_of_model_files_is_a_test_set(tmp_path):
    models = tmp_path / "models"
    (models / "shelf").mkdir(parents=True)
    box = trimesh.creation.box((1.0, 2.0, 3.0))
    box.export(models / "shelf" / "box.glb")
    output = tmp_path / "output"
    meshes.main(["--models", str(models), "--baselines-only", "--output", str(output)])
    report = json.loads((output / meshes.SCORES_JSON).read_text())
    assert report["test_set"] == str(models)
    assert [row["object"] for row in report["objects"]] == ["shelf/box.glb"]
    assert report["means"]["box of the true size"]["volume_iou"] > 0.97
    with pytest.raises(OptionError, match="folder of 3D models"):
        meshes.main(["--models", str(tmp_path / "absent"), "--baselines-only"])


def test_elevation_compares_rendered_and_predicted_views_with_constants(
    crate_set, tiny_preset, capsys
):
    elevation.main(["--data", str(crate_set.folder), "--preset", str(tiny_preset)])
    rows = {row["estimated_from"]: row for row in printed_rows(capsys)}
    assert list(rows) == ["rendered", "predicted", "prior", "middle"]
    rigs = load_rigs(crate_set.folder / "renders" / f"{crate_set.asset_id}.npz")
    expected = abs(elevation.PRIOR_ELEVATION_DEG - float(rigs.elevation_deg[0]))
    assert rows["prior"]["mean_error_deg"] == pytest.approx(expected, abs=0.06)
    assert rows["middle"]["mean_error_deg"] != rows["prior"]["mean_error_deg"]
    assert all(row["objects"] == 1 for row in rows.values())


def test_samplers_are_compared_in_views_and_meshes(crate_set, tiny_preset, capsys):
    data = ["--data", str(crate_set.folder), "--packages", str(crate_set.folder)]
    data += ["--manifest", str(crate_set.folder / "manifest.json")]
    arguments = [*data, "--preset", str(tiny_preset), "--reference-steps", "3"]
    noisy = ["--noisy-reference", "3,4"]
    samplers.main([*arguments, *noisy, "--fast", "2,2,0.5,reuse", "1,1,1"])
    rows = [line.split("|")[1:-1] for line in capsys.readouterr().out.splitlines() if "|" in line]
    assert [row[0].strip() for row in rows[2:]] == [
        "reference, 3 and 3 steps",
        "reference, 3 and 4 steps, eta 1",
        "fast, 2 and 2 steps, 50% guided, features reused",
        "fast, 1 and 1 steps",
    ]
    cells = [[cell.split("±") for cell in row[1:]] for row in rows[2:]]
    assert all(spread.strip() == "nan" for row in cells for _, spread in row)  # of one object
    reference, *others = ([float(mean) for mean, _ in row] for row in cells)
    assert (reference[1], reference[3]) == (0.0, 60.0)
    assert all(row[3] < 60.0 for row in others)
    for row in (reference, *others):
        assert row[1] == pytest.approx(row[0] - reference[0], abs=0.02)
        assert row[5] == pytest.approx(row[4] - reference[4], abs=0.002)
        assert 0.0 <= row[4] <= 1.0 and row[6] > 0.0
    with pytest.raises(OptionError, match="75,50"):
        samplers.main([*arguments, "--noisy-reference", "75"])
    with pytest.raises(OptionError, match="16,12"):
        samplers.main([*arguments, "--fast", "2,2,reuse"])


def test_spreads_are_standard_errors_of_the_mean():
    rows = np.array([[1.0, 5.0], [3.0, 5.0], [2.0, 5.0], [2.0, 5.0]])
    np.testing.assert_allclose(samplers.standard_errors(rows), [np.sqrt(2 / 3) / 2, 0.0])


def test_segmenter_looks_at_pictures_with_and_without_alpha(tiny_preset, tmp_path, capsys):
    photos, output = tmp_path / "photos", tmp_path / "output"
    photos.mkdir()
    cutout = np.zeros((48, 64, 4), np.uint8)
    cutout[12:36, 20:44] = (200, 40, 30, 255)
    Image.fromarray(cutout).save(photos / "a.png")
    Image.fromarray(cutout[..., :3]).save(photos / "b.png")
    options = ["--preset", str(tiny_preset), "--output", str(output)]
    segmenter.main([*options, "--pictures", str(photos)])
    first, second = printed_rows(capsys)
    assert first["picture"] == "a.png" and 0.0 <= first["iou_with_alpha"] <= 1.0
    assert second.keys() == {"picture", "covered"}
    sheet = np.asarray(Image.open(output / "pictures" / pictures.SHEET_PNG))
    assert sheet.shape == (2 * segmenter.TILE_PX, 2 * segmenter.TILE_PX, 3)
    assert sheet[0, 0].tolist() == [segmenter.BACKDROP_LEVEL] * 3
    with pytest.raises(SystemExit):
        segmenter.main(options)
    assert "--pictures" in capsys.readouterr().err


def test_pictures_reports_each_and_goes_on_after_a_bad_one(
    crate_set, tiny_preset, tmp_path, capsys
):
    rigs = load_rigs(crate_set.folder / "renders" / f"{crate_set.asset_id}.npz")
    photos = tmp_path / "photos"
    photos.mkdir()
    crate = Image.fromarray(rgba_from_render(rigs.rgb[0, 0], rigs.mask[0, 0]))
    crate.resize((64, 64)).save(photos / "crate.png")
    Image.new("RGBA", (64, 64)).save(photos / "empty.png")
    output = tmp_path / "output"
    pictures.main([str(photos), "--output", str(output), "--preset", str(tiny_preset)])
    report = json.loads((output / "report.json").read_text())
    crate_row, empty_row = report["pictures"]
    assert crate_row["picture"] == "crate.png" and 0 < crate_row["silhouette_iou"] <= 1
    assert report["mean_silhouette_iou"] == pytest.approx(crate_row["silhouette_iou"], abs=1e-3)
    assert empty_row["picture"] == "empty.png" and "error" in empty_row
    sheet = Image.open(output / pictures.SHEET_PNG)
    assert sheet.size == (9 * VIEW_SIZE_PX, 2 * VIEW_SIZE_PX)
