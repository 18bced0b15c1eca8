"""The service: `hpsearch serve` and its tokens, and the commands that talk to a server."""

from pathlib import Path
from typing import Any

import click

from hpsearch.cli.options import say

_SERVER = click.option("--server", metavar="URL", help="Address of the server. [default: $HPSEARCH_SERVER]")
_ROOT = click.option(
    "--root", type=click.Path(path_type=Path), default=Path("server"), show_default=True, help="Folder of the server."
)
_FILE = click.Path(path_type=Path)


@click.command("serve")
@_ROOT
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("--port", type=click.IntRange(0, 65535), default=8080, show_default=True, help="Port; 0 for a free one.")
@click.option("--jobs", type=click.IntRange(1), default=1, show_default=True, help="Studies that run at once.")
@click.option("--workers", type=click.IntRange(1), help="Worker processes of all studies. [default: number of CPUs]")
@click.option("--memory", type=click.IntRange(1), help="GB for each process of a study. [default: an equal share]")
@click.option("--storage", metavar="URL", help="Database of the queue. [default: ROOT/server.db]")
@click.option("--tracking-uri", help="MLflow tracking URI of the studies. [default: ROOT/mlruns/mlflow.db]")
@click.option("--cluster", metavar="ADDRESS", help="Dask cluster that trains in place of worker processes.")
@click.option("--allow-host", multiple=True, metavar="NAME", help="Also answer to this name, as behind a proxy.")
@click.option("--allow-code", is_flag=True, help="Allow all sources of data and ${VARIABLES} in studies.")
@click.option("--data-root", type=_FILE, help="Folder whose files studies may read by absolute path.")
@click.option("--quota", type=click.IntRange(1), default=20, show_default=True, help="Disk quota in GB.")
@click.option("--tls-cert", type=_FILE, help="Certificate for HTTPS.")
@click.option("--tls-key", type=_FILE, help="Private key of the certificate.")
def serve_command(**given: Any) -> None:
    """Serve the queue, the HTTP interface and the web page, until Ctrl-C."""
    from hpsearch.server.serve import ServerOptions, serve

    certificate, key = given.pop("tls_cert"), given.pop("tls_key")
    if (certificate is None) != (key is None):
        raise click.UsageError("--tls-cert and --tls-key belong together")
    for path in (certificate, key):
        if path is not None and not path.is_file():
            raise click.UsageError(f"{path} is not a file")
    options = {"tracking": given.pop("tracking_uri"), "allowed_hosts": given.pop("allow_host")}
    memory = given.pop("memory")
    options |= {"memory": None if memory is None else memory * 10**9}
    options |= {"quota": given.pop("quota") * 10**9, "tls": None if certificate is None else (certificate, key)}
    serve(ServerOptions(**given, **options), say)


@click.command("token")
@_ROOT
@click.option("--add", metavar="NAME", help="Make a new token of this name, and print it.")
@click.option("--right", type=click.Choice(["read", "submit", "admin"]), default="submit", show_default=True)
@click.option("--remove", metavar="NAME", help="Remove a token.")
def token_command(root: Path, add: str | None, right: Any, remove: str | None) -> None:
    """List, add or remove the tokens of a server, which takes note at once."""
    from hpsearch.errors import ServerError
    from hpsearch.server.serve import TOKEN_FILE
    from hpsearch.server.tokens import Tokens

    if not root.is_dir():
        raise ServerError(f"{root}: is not the folder of a server; name it with --root")
    tokens = Tokens.load(root / TOKEN_FILE)
    if remove is not None:
        tokens = tokens.without(remove)
    if add is not None:
        tokens = tokens.with_new(add, right)
        say(tokens.known[add][0])
    if add is not None or remove is not None:
        tokens.save(root / TOKEN_FILE)
    else:
        say("\n".join(f"{name}: {right}" for name, (_, right) in tokens.known.items()))


@click.command("submit")
@click.argument("study", type=_FILE)
@_SERVER
@click.option("--priority", type=click.IntRange(-100, 100), default=0, show_default=True, help="Higher runs first.")
@click.option("--watch", "follow", is_flag=True, help="Follow the study until it has ended.")
def submit_command(study: Path, server: str | None, priority: int, follow: bool) -> None:
    """Submit the study file STUDY and the tables that it names to a server."""
    from hpsearch.server.client import Client

    client = Client(server)
    submission = client.submit(study, priority=priority)
    for notice in submission["notices"]:
        say(f"note: {notice}", err=True)
    say(f"{submission['id']}: study '{submission['name']}' is {submission['state']}")
    if follow:
        _watch(client, submission["id"])


@click.command("queue")
@_SERVER
@click.option("--archived", is_flag=True, help="List archived studies in place of the others.")
def queue_command(server: str | None, archived: bool) -> None:
    """List the studies of a server."""
    from hpsearch.server.client import Client

    for s in Client(server).studies(archived=archived):
        error = f": {s['error']}" if s["error"] else ""
        say(f"{s['id']}  {s['state']:<11}  {s['name']}  ({s['owner']}){error}")


@click.command("watch")
@click.argument("id")
@_SERVER
def watch_command(id: str, server: str | None) -> None:
    """Follow the study ID of a server until it has ended; Ctrl-C stops following, not the study."""
    from hpsearch.server.client import Client

    _watch(Client(server), id)


@click.command("fetch")
@click.argument("id")
@_SERVER
@click.option("--report", type=_FILE, help="Write the report to this HTML file.")
@click.option("--model", type=_FILE, help="Write the best model to this ZIP file.")
@click.option("--onnx", type=_FILE, help="Write the best model to this ONNX file.")
@click.option("--csv", type=_FILE, help="Write the trials to this CSV file.")
def fetch_command(id: str, server: str | None, **files: Path | None) -> None:
    """Fetch what the study ID of a server yields."""
    from hpsearch.server.client import Client

    products = {"report": "report", "model": "model.zip", "onnx": "model.onnx", "csv": "trials?format=csv"}
    if not any(files.values()):
        raise click.UsageError("name a file with --report, --model, --onnx or --csv")
    client = Client(server)
    for name, file in files.items():
        if file is not None:
            client.fetch(id, products[name], file)
            say(f"{file}: written")


@click.command("cancel")
@click.argument("id")
@_SERVER
def cancel_command(id: str, server: str | None) -> None:
    """Cancel the study ID of a server; what is trained is kept."""
    from hpsearch.server.client import Client

    submission = Client(server).cancel(id)
    say(f"{submission['id']}: study '{submission['name']}' is being cancelled")


@click.command("archive")
@click.argument("id")
@_SERVER
@click.option("--restore", is_flag=True, help="Bring back an archived study.")
def archive_command(id: str, server: str | None, restore: bool) -> None:
    """Archive the study ID of a server, which has ended: its database is compressed, and it is listed no more."""
    from hpsearch.server.client import Client

    client = Client(server)
    submission = client.restore(id) if restore else client.archive(id)
    say(f"{submission['id']}: study '{submission['name']}' is {'restored' if restore else 'archived'}")


def _watch(client: Any, id: str) -> None:
    for kind, content in client.events(id):
        if kind == "stage":
            say(f"stage {content['stage']}")
        elif kind == "best":
            say(f"best so far: {content['label']}  {content['value']:.6g}")
        elif kind == "waiting":
            say(f"waiting for the server: {content['reason']}", err=True)
        elif kind == "state":
            say(f"{content['name']} is {content['state']}")
        elif kind == "done":
            best = content["best"]
            say(f"{content['finished']} trials" + (f"; best {best['label']}: {best['value']:.6g}" if best else ""))
            if content["error"]:
                say(f"error: {content['error']}", err=True)
