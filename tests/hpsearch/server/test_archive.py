"""Archived studies: compressed, listed apart, shown as they were, and the same when they are back."""

import hashlib

import cases
import pytest

from hpsearch.server.archive import archive_study, finish_archiving, unarchive_study
from tests.hpsearch.server.conftest import TestServer, study_text


def test_archived_and_restored(server: TestServer, done: str) -> None:
    folder, before = server.service.places.study(done), server.ask("GET", f"studies/{done}").json
    table, size = cases.table(folder / "study.db"), (folder / "study.db").stat().st_size
    assert server.ask("POST", f"studies/{done}/archive", token="bob").status == 403
    answer = server.ask("POST", f"studies/{done}/archive", token="ann")
    assert answer.status == 200 and answer.json["archived"] > before["ended"]
    assert not folder.exists() and server.service.places.archive(done).stat().st_size < size / 2
    assert server.ask("GET", f"studies/{done}").json == {**before, "archived": answer.json["archived"]}
    assert done not in [s["id"] for s in server.ask("GET", "studies").json["studies"]]
    assert [s["id"] for s in server.ask("GET", "studies?archived=true").json["studies"]] == [done]
    for method, path in (
        ("GET", "report"),
        ("GET", "trials"),
        ("GET", "model.zip"),
        ("POST", "resume"),
        ("GET", "columns"),
    ):
        refused = server.ask(method, f"studies/{done}/{path}")
        assert refused.status == 409 and "archived" in refused.json["detail"]
    assert server.ask("POST", f"studies/{done}/archive").json["archived"] == answer.json["archived"]
    assert server.ask("POST", f"studies/{done}/restore", token="ann").json["archived"] is None
    assert server.ask("GET", f"studies/{done}").json == before and cases.table(folder / "study.db") == table
    assert not server.service.places.archive(done).exists()
    assert server.ask("POST", f"studies/{done}/restore").status == 409


def test_what_cannot_be_archived(idle: TestServer) -> None:
    id = idle.submit()
    assert "it must have ended" in idle.ask("POST", f"studies/{id}/archive").json["detail"]
    idle.ask("POST", f"studies/{id}/cancel")
    assert idle.ask("POST", f"studies/{id}/archive").status == 200
    file = idle.service.places.archive(id)
    idle.service.places.quota = 0
    assert idle.ask("POST", f"studies/{id}/restore").status == 413
    file.write_bytes(b"no archive")
    answer = idle.ask("POST", f"studies/{id}/restore")
    assert answer.status == 409 and "its archive cannot be read" in answer.json["detail"] and file.exists()
    assert idle.ask("GET", f"studies/{id}").json["state"] == "cancelled"
    assert idle.ask("DELETE", f"studies/{id}").status == 204 and not file.exists()


@pytest.mark.parametrize("step", ["before", "after", "restored"])
def test_a_kill_in_between(idle: TestServer, monkeypatch: pytest.MonkeyPatch, step: str) -> None:
    """The study is archived or not, and nothing of the other state is left."""
    content = b"x,y\n1,2\n"
    digest = hashlib.sha256(content).hexdigest()
    idle.ask("PUT", f"data/{digest}", content, media="application/octet-stream")
    body = {"study": study_text(data={"source": "csv", "path": "t.csv", "target": "y"}), "files": {"t.csv": digest}}
    id = idle.ask("POST", "studies", body).json["id"]
    idle.ask("POST", f"studies/{id}/cancel")
    queue, places = idle.service.queue, idle.service.places
    folder, file = places.study(id), places.archive(id)
    (folder / "study.db").write_bytes(b"a database")

    def kill(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        if step == "before":
            patch.setattr(type(queue), "set_archived", kill)
        elif step == "after":
            patch.setattr(type(places), "delete_folder", kill)
        else:
            archive_study(queue, places, id, b"{}")
            patch.setattr(type(queue), "set_archived", kill)
        with pytest.raises(KeyboardInterrupt):
            (unarchive_study if step == "restored" else archive_study)(
                queue, places, id, *([] if step == "restored" else [b"{}"])
            )
    finish_archiving(queue, places)
    archived = step != "before"
    assert (queue.get(id).archived is not None, folder.exists(), file.exists()) == (archived, not archived, archived)
    if archived:
        unarchive_study(queue, places, id)
    assert (folder / "study.db").read_bytes() == b"a database" and (folder / "t.csv").read_bytes() == content
