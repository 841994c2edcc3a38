"""The language server, spoken to by a client over its standard input and output."""

import asyncio
import shutil
import subprocess
import sys
from collections.abc import Coroutine, Iterator
from pathlib import Path
from typing import Any, TypeVar

import pytest

from rbcc.compiler.driver import compile_spec
from rbcc.compiler.source import shipped_models


pytest.importorskip("pygls")

from lsprotocol import types
from pygls.exceptions import JsonRpcException
from pygls.lsp.client import LanguageClient

from rbcc.editor.server import Server


_T = TypeVar("_T")
MODELS = ("open_rbc", "closed_rbc", "cournot", "open_rbc_small")


class Editor:
    """An editor at work in a folder: it holds texts, asks, and gets findings."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.loop = asyncio.new_event_loop()
        self.client = LanguageClient("test", "1")
        self.versions: dict[str, int] = {}
        self.texts: dict[str, str] = {}
        self.shown: asyncio.Queue[types.PublishDiagnosticsParams] = asyncio.Queue()
        self.watched: list[str] = []
        self.log = b""

        @self.client.feature(types.TEXT_DOCUMENT_PUBLISH_DIAGNOSTICS)
        def publish(params: types.PublishDiagnosticsParams) -> None:
            self.shown.put_nowait(params)

        @self.client.feature(types.CLIENT_REGISTER_CAPABILITY)
        def register(params: types.RegistrationParams) -> None:
            self.watched = [one.method for one in params.registrations]

        self.run(self._start())

    def run(self, work: Coroutine[Any, Any, _T]) -> _T:
        return self.loop.run_until_complete(asyncio.wait_for(work, 30))

    async def _start(self) -> None:
        await self.client.start_io(sys.executable, "-m", "rbcc.cli", "lsp", cwd=self.folder)
        found = await self.client.initialize_async(
            types.InitializeParams(
                capabilities=types.ClientCapabilities(
                    workspace=types.WorkspaceClientCapabilities(
                        did_change_watched_files=types.DidChangeWatchedFilesClientCapabilities(
                            dynamic_registration=True
                        )
                    ),
                    text_document=types.TextDocumentClientCapabilities(
                        rename=types.RenameClientCapabilities(prepare_support=True)
                    ),
                ),
                workspace_folders=[types.WorkspaceFolder(self.folder.as_uri(), "work")],
            )
        )
        self.capabilities = found.capabilities
        self.client.initialized(types.InitializedParams())

    def leave(self) -> int | None:
        async def stop() -> int | None:
            await self.client.shutdown_async(None)
            self.client.exit(None)
            server = self.client._server
            assert server is not None
            assert server.stderr is not None
            self.log = await server.stderr.read()
            await self.client.stop()
            return server.returncode

        code = self.run(stop())
        self.loop.close()
        return code

    def uri(self, name: str) -> str:
        return (self.folder / name).as_uri()

    def open(self, name: str, text: str | None = None) -> list[types.Diagnostic]:
        """Opens a file, perhaps with another text than it has on the disk; the findings."""
        text = (self.folder / name).read_text(encoding="utf-8") if text is None else text
        self.texts[name], self.versions[name] = text, self.versions.get(name, 0) + 1
        document = types.TextDocumentItem(self.uri(name), "yaml", self.versions[name], text)
        self.client.text_document_did_open(types.DidOpenTextDocumentParams(document))
        return self.findings(name)

    def write(self, name: str, text: str) -> None:
        self.texts[name] = text
        self.versions[name] += 1
        self.client.text_document_did_change(
            types.DidChangeTextDocumentParams(
                types.VersionedTextDocumentIdentifier(self.versions[name], self.uri(name)),
                [types.TextDocumentContentChangeWholeDocument(text)],
            )
        )

    def replace(self, name: str, old: str, new: str) -> list[types.Diagnostic]:
        """Changes a text; the findings after it."""
        assert self.texts[name].count(old) == 1
        self.write(name, self.texts[name].replace(old, new))
        return self.findings(name)

    def close(self, name: str) -> None:
        self.client.text_document_did_close(
            types.DidCloseTextDocumentParams(types.TextDocumentIdentifier(self.uri(name)))
        )
        assert self.findings(name, closed=True) == []

    def findings(self, name: str, closed: bool = False) -> list[types.Diagnostic]:
        """The next findings that are shown for a file as it is."""
        while True:
            shown = self.run(self.shown.get())
            if shown.uri == self.uri(name) and shown.version == (None if closed else self.versions[name]):
                return list(shown.diagnostics)

    def at(self, name: str, words: str) -> dict[str, Any]:
        """The parameters that ask about the place marked with | in some words of a text."""
        before, _, after = words.partition("|")
        text = self.texts[name]
        assert text.count(before + after) == 1, words
        above = text[: text.index(before + after) + len(before)].split("\n")
        position = types.Position(len(above) - 1, len(above[-1].encode("utf-16-le")) // 2)
        return {"text_document": types.TextDocumentIdentifier(self.uri(name)), "position": position}

    def hover(self, name: str, words: str) -> str:
        found = self.run(self.client.text_document_hover_async(types.HoverParams(**self.at(name, words))))
        assert found is None or isinstance(found.contents, types.MarkupContent)
        return found.contents.value if found else ""  # type: ignore[union-attr]

    def definition(self, name: str, words: str) -> list[str]:
        asked = types.DefinitionParams(**self.at(name, words))
        return [self.place(one) for one in self.run(self.client.text_document_definition_async(asked)) or ()]  # type: ignore[arg-type,union-attr]

    def references(self, name: str, words: str, declaration: bool = True) -> list[str]:
        asked = types.ReferenceParams(types.ReferenceContext(declaration), **self.at(name, words))
        return [self.place(one) for one in self.run(self.client.text_document_references_async(asked)) or ()]

    def complete(self, name: str, words: str) -> dict[str, types.CompletionItem]:
        asked = types.CompletionParams(**self.at(name, words))
        found = self.run(self.client.text_document_completion_async(asked))
        assert isinstance(found, list)
        return {one.label: one for one in found}

    def rename(self, name: str, words: str, new: str) -> dict[str, list[types.TextEdit]]:
        asked = types.RenameParams(new_name=new, **self.at(name, words))
        found = self.run(self.client.text_document_rename_async(asked))
        assert found is not None
        assert found.changes is not None
        return {uri.rpartition("/")[2]: list(edits) for uri, edits in found.changes.items()}

    def place(self, location: types.Location) -> str:
        """A location as its file and the text of its line from its column on."""
        name = location.uri.rpartition("/")[2]
        text = self.texts.get(name) or (self.folder / name).read_text(encoding="utf-8")
        return f"{name}: {text.splitlines()[location.range.start.line][location.range.start.character :].strip()[:24]}"


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Editor]:
    folder = tmp_path_factory.mktemp("work")
    for name in MODELS:
        shutil.copy(shipped_models() / f"{name}.yaml", folder)
    editor = Editor(folder)
    yield editor
    assert editor.leave() == 0
    # No mistake of the server on any question of these tests; what a Python file prints goes here.
    assert set(editor.log.splitlines()) <= {b"loud"}


@pytest.fixture
def editor(shared: Editor) -> Iterator[Editor]:
    """The one editor, with nothing open."""
    yield shared
    for name in list(shared.texts):
        shared.close(name)
        del shared.texts[name]


def covered(editor: Editor, name: str, found: types.Diagnostic) -> str:
    line = editor.texts[name].splitlines()[found.range.start.line]
    return line[found.range.start.character : found.range.end.character]


def apply(text: str, edits: list[types.TextEdit]) -> str:
    lines = text.split("\n")
    for edit in sorted(edits, key=lambda e: (e.range.start.line, e.range.start.character), reverse=True):
        line = lines[edit.range.start.line]
        start, end = edit.range.start.character, edit.range.end.character
        lines[edit.range.start.line] = line[:start] + edit.new_text + line[end:]
    return "\n".join(lines)


# --- findings ------------------------------------------------------------------------------------------------------


def test_a_mistake_is_shown_at_its_place_and_vanishes_when_mended(editor: Editor) -> None:
    assert editor.open("open_rbc.yaml") == []
    (found,) = editor.replace("open_rbc.yaml", "inventory[j] - sold[j]", "inventory[j] - slod[j]")
    assert covered(editor, "open_rbc.yaml", found) == "slod"
    assert (found.code, found.severity, found.source) == ("RB202", types.DiagnosticSeverity.Error, "rbcc")
    assert found.message.startswith("'slod' is not defined\nhelp: did you mean 'sold'")
    assert editor.replace("open_rbc.yaml", "slod", "sold") == []


def test_labels_become_related_places(editor: Editor) -> None:
    editor.open("open_rbc.yaml")
    (found,) = editor.replace("open_rbc.yaml", "inventory[j] - sold[j]", "inventory - sold[j]")
    assert found.code == "RB301"
    (label,) = found.related_information or []
    assert label.message == "declared at"
    assert editor.place(label.location).startswith("closed_rbc.yaml: inventory: {start: 0")


def test_several_mistakes_of_all_stages(editor: Editor) -> None:
    editor.open("cournot.yaml")
    text = editor.texts["cournot.yaml"]
    for old, new, code in (
        ("model: ", "modle: ", "RB101"),
        ("horizon: ", "horizon", "RB002"),
        ("model: cournot", "model: cournot\nmodel: twice", "RB003"),
        ("model: cournot", "model: [1]", "RB103"),
    ):
        assert code in {found.code for found in editor.replace("cournot.yaml", old, new)}
        editor.write("cournot.yaml", text)
        assert editor.findings("cournot.yaml") == []


def test_unsaved_parents_are_read_from_the_editor(editor: Editor) -> None:
    editor.open("closed_rbc.yaml")
    assert editor.open("open_rbc.yaml") == []
    editor.replace("closed_rbc.yaml", "    sold[j]             =", "    bought[j]           =")
    (found,) = [one for one in editor.findings("open_rbc.yaml") if "in closed_rbc.yaml" not in one.message]
    assert covered(editor, "open_rbc.yaml", found) == "sold"
    editor.replace("closed_rbc.yaml", "    bought[j]           =", "    sold[j]             =")
    assert editor.findings("open_rbc.yaml") == []


def test_a_mistake_in_a_parent_is_shown_where_the_parent_is_named(editor: Editor) -> None:
    editor.open("open_rbc.yaml")
    found = editor.replace("open_rbc.yaml", "parameters:\n", "parameters:\n  interest: null\n")
    assert {covered(editor, "open_rbc.yaml", one) for one in found} == {"closed_rbc.yaml"}
    assert found[0].message.startswith("in closed_rbc.yaml: 'interest' is not defined")
    label, *_ = found[0].related_information or []
    assert editor.place(label.location).startswith("closed_rbc.yaml: interest * max(")


def test_a_document_that_was_never_saved(editor: Editor) -> None:
    text = "rbcc: 1\nextends: cournot\nmodel: fresh\nhorizon: many\n"
    (found,) = editor.open("never_saved.yaml", text)
    assert (found.code, covered(editor, "never_saved.yaml", found)) == ("RB103", "many")


def test_other_yaml_is_left_alone(editor: Editor) -> None:
    editor.client.text_document_did_open(
        types.DidOpenTextDocumentParams(
            types.TextDocumentItem(editor.uri("compose.yaml"), "yaml", 1, "services:\n  web: {image: x}\n")
        )
    )
    editor.texts["compose.yaml"], editor.versions["compose.yaml"] = "services:\n  web: {image: x}\n", 1
    assert editor.hover("compose.yaml", "serv|ices") == ""
    assert editor.complete("compose.yaml", "serv|ices") == {}
    assert editor.shown.empty()
    assert editor.replace("compose.yaml", "services", "rbcc: 1\nservices")


def test_columns_are_counted_as_the_editor_counts(editor: Editor) -> None:
    """In UTF-16 units, where an emoji is two."""
    editor.open("open_rbc.yaml")
    editor.replace("open_rbc.yaml", "doc: abroad buys from this price upwards", 'doc: "😀😀", unit: oops')
    editor.write("open_rbc.yaml", editor.texts["open_rbc.yaml"].replace("unit: money/good, ", ""))
    (found,) = editor.findings("open_rbc.yaml")
    line = editor.texts["open_rbc.yaml"].splitlines()[found.range.start.line]
    assert found.range.start.character == len(line[: line.index("oops")].encode("utf-16-le")) // 2
    assert editor.hover("open_rbc.yaml", '"😀😀", un|it').startswith("**unit**")


def test_windows_line_ends(editor: Editor) -> None:
    text = (editor.folder / "open_rbc.yaml").read_text().replace("\n", "\r\n")
    assert editor.open("open_rbc.yaml", text) == []
    assert editor.definition("open_rbc.yaml", "inv|entory[j]") == ["closed_rbc.yaml: inventory: {start: 0, un"]


# --- hover, definitions, references --------------------------------------------------------------------------------


def test_hover_on_a_name(editor: Editor) -> None:
    editor.open("open_rbc.yaml")
    text = editor.hover("open_rbc.yaml", "inv|entory[j] - sold[j]")
    for words in (
        "**inventory[j]: good**",
        "state of firm: a number, known at the start of the step; one for each firm",
        "inventory: {start: 0, unit: good, scale: 100}",
        "inventory'[j]       = inventory[j] - sold[j] - exported[j] + production[j]",
        "closed_rbc.yaml:51",
    ):
        assert words in text
    assert "abroad buys from this price upwards" in editor.hover("open_rbc.yaml", ">= export|_price else")
    assert editor.hover("open_rbc.yaml", "sold[|j]").startswith("**j**: index of firm")


def test_hover_on_functions_keys_and_words(editor: Editor) -> None:
    editor.open("closed_rbc.yaml")
    text = editor.hover("closed_rbc.yaml", "cobb_|douglas")
    assert text.startswith("**cobb_douglas(capital, labour, share)**\n\nCobb-Douglas aggregate")
    assert "units: `any, any, 1 -> 1`" in text
    assert "progress of the phase" in editor.hover("closed_rbc.yaml", "since|(firm)")
    assert (
        editor.hover("closed_rbc.yaml", "horiz|on: 10")
        == "**horizon**: whole number, must be given\n\nsteps in an episode"
    )
    assert "how far the limit is violated" in editor.hover("closed_rbc.yaml", "{viol|ation: \"max(-budget'")
    assert editor.hover("closed_rbc.yaml", "count(cons|umer) * budget_guard").startswith(
        "**consumer[i]**: agent type, 100"
    )
    assert editor.hover("closed_rbc.yaml", "alive: [ho|urs").startswith("**hours**: indicator")
    assert editor.hover("closed_rbc.yaml", "title: Cl|osed") == ""


def test_hover_on_a_code(editor: Editor) -> None:
    editor.open("open_rbc.yaml", "# gives RB202\n" + (editor.folder / "open_rbc.yaml").read_text())
    assert "undefined name" in editor.hover("open_rbc.yaml", "RB2|02")


def test_definitions(editor: Editor) -> None:
    editor.open("open_rbc.yaml")
    name = "open_rbc.yaml"
    assert editor.definition(name, "inv|entory[j] - sold[j]") == ["closed_rbc.yaml: inventory: {start: 0, un"]
    assert editor.definition(name, "so|ld[j]") == ["closed_rbc.yaml: sold[j]             = su"]
    assert editor.definition(name, "sold[|j]") == ["closed_rbc.yaml: j"]
    assert editor.definition(name, ">= export_pr|ice") == ["open_rbc.yaml: export_price: {value: 50"]
    assert editor.definition(name, "expo|rts:") == ["closed_rbc.yaml: exports: |"]
    assert editor.definition(name, "closed_rbc.y|aml") == ["closed_rbc.yaml: # The many-agent real-bu"]
    assert editor.definition(name, "extends: closed_rbc.yaml\nmo|del") == ["closed_rbc.yaml: model: closed_rbc"]
    editor.open("closed_rbc.yaml")
    assert editor.definition("closed_rbc.yaml", "max(-cash'|[j]") == ["closed_rbc.yaml: cash'[j]            = ca"]
    assert editor.definition("closed_rbc.yaml", "[mo|ney, good, hour]") == ["closed_rbc.yaml: money, good, hour]"]
    assert editor.definition("closed_rbc.yaml", "util/ho|ur, doc: disutility of work of") == ["closed_rbc.yaml: hour]"]
    assert editor.definition("closed_rbc.yaml", "fi|rm.set_price: {open") == ["closed_rbc.yaml: firm:"]
    assert editor.definition("closed_rbc.yaml", "firm.set_pr|ice: {open") == [
        "closed_rbc.yaml: set_price: {choices: {fr"
    ]
    assert editor.definition("closed_rbc.yaml", "entropy: 0.05 * co|ol") == ["closed_rbc.yaml: cool: (1 - progress)^2"]


def test_definition_of_a_function_of_ones_own(editor: Editor) -> None:
    (editor.folder / "mine.py").write_text(
        "from rbcc import primitive\n\nprint('loud')\n\n\n"
        '@primitive(units="a -> a")\ndef twice(x):\n    """Two times x."""\n    return 2 * x\n'
    )
    text = "rbcc: 1\nextends: cournot\nmodel: mine\nuse: [mine.py]\nindicators: {double: twice(3)}\n"
    assert editor.open("mine.yaml", text) == []
    assert editor.definition("mine.yaml", "twi|ce(3)") == ["mine.py: twice(x):"]
    assert editor.definition("mine.yaml", "min|e.py") == ["mine.py: from rbcc import primiti"]
    assert "Two times x." in editor.hover("mine.yaml", "twi|ce(3)")
    assert "twice" in editor.complete("mine.yaml", "tw|ice(3)")


def test_a_python_file_that_changes(editor: Editor) -> None:
    """What a spec uses is read again when the editor says that files changed; a file that exits stops nothing."""
    file = editor.folder / "changing.py"
    good = '"""x"""\nfrom rbcc import primitive\n@primitive(units="a -> a")\ndef same(x):\n    return x\n'
    file.write_text(good)
    text = "rbcc: 1\nextends: cournot\nmodel: mine\nuse: [changing.py]\nindicators: {one: same(3)}\n"
    assert editor.open("changing.yaml", text) == []
    event = [types.FileEvent(file.as_uri(), types.FileChangeType.Changed)]
    for change, code in ((good.replace("same", "other"), "RB205"), ("raise SystemExit(3)\n", "RB008"), (good, None)):
        file.write_text(change)
        editor.client.workspace_did_change_watched_files(types.DidChangeWatchedFilesParams(event))
        found = editor.findings("changing.yaml")
        assert [one.code for one in found][:1] == ([code] if code else [])


def test_references_in_all_files(editor: Editor) -> None:
    editor.open("closed_rbc.yaml")
    found = editor.references("closed_rbc.yaml", "techno|logy * cobb")
    assert found == ["closed_rbc.yaml: technology: {value: 0.01", "closed_rbc.yaml: technology * cobb_dougla"]
    assert editor.references("closed_rbc.yaml", "techno|logy * cobb", declaration=False) == found[1:]
    found = editor.references("closed_rbc.yaml", "    so|ld[j]     ")
    assert {place.partition(":")[0] for place in found} == {"closed_rbc.yaml", "open_rbc.yaml"}


# --- completion ----------------------------------------------------------------------------------------------------


def test_completion_in_expressions(editor: Editor) -> None:
    editor.open("closed_rbc.yaml")
    name = "closed_rbc.yaml"
    offered = editor.complete(name, "labour[j] if lab|our[j]")
    assert {"labour", "price", "budget'", "sum", "crra", "normal", "if", "i", "set_price"} <= set(offered)
    assert offered["price"].detail == "price[j]: money/good (state of firm)"
    assert offered["crra"].detail == "crra(c, eta)"
    edit = offered["price"].text_edit
    assert isinstance(edit, types.TextEdit)
    assert edit.range.end.character - edit.range.start.character == 3
    observed = editor.complete(name, "observes: [public, budget, the|ta]")
    assert {"public", "budget", "price", "theta"} <= set(observed)
    assert not {"set_price", "profit", "budget'", "normal"} & set(observed)
    assert {"hours", "goods", "welfare"} <= set(editor.complete(name, "alive: [h|ours"))
    scheduled = editor.complete(name, "entropy: 0.05 * co|ol")
    assert {"cool", "progress", "iteration", "since", "eta"} <= set(scheduled)
    assert not {"price", "normal"} & set(scheduled)


def test_completion_while_typing(editor: Editor) -> None:
    editor.open("closed_rbc.yaml")
    name, line = "closed_rbc.yaml", "    revenue[j]          = price[j] * (sold[j] + exported[j])\n"
    assert line in editor.texts[name]
    for typed, some, none in (
        ("= firm.|", {"price", "cash'", "reward"}, {"budget", "sum"}),
        ("= demand[i, |", {"j", "employer"}, {"i", "price"}),
        ("= sum(i, pri|", {"price", "i"}, set()),
        (": go|", {"good", "money", "util"}, {"price"}),
    ):
        start = "    revenue[j]          " + typed
        editor.write(name, editor.texts[name].replace(line, start.replace("|", "") + "\n"))
        offered = set(editor.complete(name, start + "\n"))
        assert some <= offered
        assert not none & offered
        editor.write(name, (editor.folder / name).read_text())


def test_equations_that_are_missing_are_offered_first(editor: Editor) -> None:
    editor.open("closed_rbc.yaml")
    editor.replace("closed_rbc.yaml", "    income_tax'         = set_income_tax\n", "    in\n")
    offered = editor.complete("closed_rbc.yaml", "    in|\n")
    first = min(offered.values(), key=lambda one: one.sort_text or "")
    assert (first.label, first.detail) == ("income_tax'", "has no equation yet")
    assert "price'[j]" in offered


def test_completion_of_keys_and_values(editor: Editor) -> None:
    editor.open("open_rbc.yaml")
    name = "open_rbc.yaml"
    text = editor.texts[name]
    for old, new, some, none in (
        ("parameters:\n", "parameters:\n  |\n", {"eta", "technology"}, {"export_price", "model"}),
        ("parameters:\n", "par|\nparameters:\n", {"agents", "horizon", "use"}, {"extends", "parameters", "eta"}),
        ("unit: good, doc", "un|, doc", {"over", "unit"}, {"value"}),
        ("unit: good, doc", "unit: go|, doc", {"good", "util"}, {"eta"}),
        ("extends: closed_rbc.yaml", "extends: clo|", {"closed_rbc.yaml", "closed_rbc"}, {"open_rbc.yaml"}),
        ("equations:\n", "agents:\n  firm:\n    |\n", {"actions", "reward", "count"}, {"eta"}),
        ("equations:\n", "agents:\n  firm:\n    state:\n      x: {start: 0, encode: |}\n", {"log", "digits"}, {"eta"}),
        ("equations:\n", "agents:\n  firm:\n    state:\n      x: {start: 0, over: |}\n", {"consumer", "firm"}, {"government"}),
        ("equations:\n", "training:\n  anneal:\n    |\n", {"eta", "firm.set_price"}, {"price", "theta"}),
        ("equations:\n", "training:\n  firm: {joint: [|]}\n", {"set_price"}, {"demand", "price"}),
        ("equations:\n", "verify: {shutdown: {|}}\n", {"consumer.hours"}, {"hours"}),
    ):  # fmt: skip
        editor.write(name, text.replace(old, new.replace("|", "") + ("equations:\n" if old == "equations:\n" else "")))
        offered = set(editor.complete(name, new.rstrip("\n")))
        assert some <= offered, new
        assert not none & offered, new


# --- while the text is broken --------------------------------------------------------------------------------------


def test_hover_and_completion_go_on_in_a_broken_document(editor: Editor) -> None:
    editor.open("closed_rbc.yaml")
    name = "closed_rbc.yaml"
    good = editor.texts[name]
    for old, new in (
        ("    revenue[j]          = price[j] *", "    revenue[j]          = wage[j] * ("),  # no equation
        ("horizon: 10\n", "horizon: 10\nhalf\n"),  # no YAML
        ("horizon: 10\n", "horizon: 10\nhalf: 3\n"),  # no spec
        ("horizon: 10\n", "horizon: 10\n\t\n"),
    ):
        assert editor.replace(name, old, new)
        assert editor.hover(name, "    transfer            = revenue_from_|taxes").startswith(
            "**revenue_from_taxes: money**"
        )
        assert editor.hover(name, "disutility_scale * the|ta[i]").startswith("**theta[i]")
        assert editor.definition(name, "disutility_scale * the|ta[i]") == ["closed_rbc.yaml: theta: {value: theta_sca"]
        assert "price" in editor.complete(name, "wage[employer[i]] * ho|urs[i]")
        editor.write(name, good)
        assert editor.findings(name) == []
    editor.replace(name, "    revenue[j]          = price[j] *", "    revenue[j]          = wage[j] * (")
    assert editor.hover(name, "    revenue[j]          = wa|ge[j] * (").startswith("**wage[j]: money/hour**")


def test_a_document_that_is_broken_from_the_start(editor: Editor) -> None:
    assert editor.open("open_rbc.yaml", "rbcc: 1\nextends: closed_rbc.yaml\nmodel: [\n")
    assert "horizon" in editor.complete("open_rbc.yaml", "mod|el")
    assert editor.hover("open_rbc.yaml", "mod|el") == ""
    assert editor.definition("open_rbc.yaml", "mod|el") == []
    assert (
        editor.run(
            editor.client.text_document_document_symbol_async(
                types.DocumentSymbolParams(types.TextDocumentIdentifier(editor.uri("open_rbc.yaml")))
            )
        )
        == []
    )


# --- renaming ------------------------------------------------------------------------------------------------------


def test_renaming_gives_the_same_model_up_to_the_name(editor: Editor) -> None:
    editor.open("open_rbc.yaml")
    before = compile_spec(editor.folder / "open_rbc.yaml").model.text()
    edits = editor.rename("open_rbc.yaml", "inv|entory[j] - sold[j]", "stock")
    assert set(edits) == {"closed_rbc.yaml", "open_rbc.yaml"}
    saved = {name: (editor.folder / name).read_text() for name in edits}
    try:
        for name in edits:
            (editor.folder / name).write_text(apply(saved[name], edits[name]))
        assert compile_spec(editor.folder / "open_rbc.yaml").model.text() == before.replace("inventory", "stock")
        assert compile_spec(editor.folder / "closed_rbc.yaml").warnings == ()
        editor.client.text_document_did_save(
            types.DidSaveTextDocumentParams(types.TextDocumentIdentifier(editor.uri("open_rbc.yaml")))
        )
        editor.write("open_rbc.yaml", (editor.folder / "open_rbc.yaml").read_text())
        assert editor.findings("open_rbc.yaml") == []
        back = editor.rename("open_rbc.yaml", "sto|ck[j] - sold[j]", "inventory")
        assert {name: apply((editor.folder / name).read_text(), back[name]) for name in back} == saved
    finally:
        for name, text in saved.items():
            (editor.folder / name).write_text(text)


@pytest.mark.parametrize(
    ("words", "new", "reason"),
    [
        ("so|ld[j]", "price", "'price' does not fit"),
        ("so|ld[j]", "interest", "'interest' does not fit"),
        ("so|ld[j]", "two words", "'two words' is not a name"),
        ("so|ld[j]", "if", "'if' does not fit"),
        ("max(0, mi|n(", "least", "a function is renamed in the Python file"),
        ("else| 0", "otherwise", "there is no name here"),
    ],
)
def test_renaming_is_refused(editor: Editor, words: str, new: str, reason: str) -> None:
    editor.open("open_rbc.yaml")
    with pytest.raises(JsonRpcException, match=reason):
        editor.rename("open_rbc.yaml", words, new)


def test_renaming_what_is_outside_the_workspace_is_refused(editor: Editor) -> None:
    editor.open("outside.yaml", "rbcc: 1\nextends: open_rbc_cara\nmodel: outside\nparameters: {technology: 0.02}\n")
    with pytest.raises(JsonRpcException, match=r"closed_rbc.yaml uses the name, and is outside the workspace"):
        editor.rename("outside.yaml", "techno|logy", "skill")


def test_renaming_is_refused_while_there_are_errors(editor: Editor) -> None:
    editor.open("open_rbc.yaml")
    assert editor.replace("open_rbc.yaml", "min(", "mim(")
    with pytest.raises(JsonRpcException, match="mend the errors of this spec first"):
        editor.rename("open_rbc.yaml", "so|ld[j]", "bought")


def test_prepare_rename_marks_the_name(editor: Editor) -> None:
    editor.open("open_rbc.yaml")
    asked = types.PrepareRenameParams(**editor.at("open_rbc.yaml", "so|ld[j]"))
    found = editor.run(editor.client.text_document_prepare_rename_async(asked))
    assert isinstance(found, types.Range)
    assert found.end.character - found.start.character == 4


# --- outline, start ------------------------------------------------------------------------------------------------


def test_outline(editor: Editor) -> None:
    editor.open("open_rbc.yaml")
    asked = types.DocumentSymbolParams(types.TextDocumentIdentifier(editor.uri("open_rbc.yaml")))
    found = editor.run(editor.client.text_document_document_symbol_async(asked))
    shown = {one.name: {inner.name for inner in one.children} for one in found or ()}  # type: ignore[union-attr]
    assert shown == {"parameters": {"export_price", "export_quantity"}, "equations": {"exports"}}


def test_capabilities(editor: Editor) -> None:
    found = editor.capabilities
    assert found.hover_provider
    assert found.definition_provider
    assert found.references_provider
    assert found.rename_provider == types.RenameOptions(prepare_provider=True)
    assert editor.watched == ["workspace/didChangeWatchedFiles"]
    assert found.completion_provider == types.CompletionOptions(trigger_characters=(".", "["))


def test_without_pygls_a_message_says_what_to_install() -> None:
    code = "import sys; sys.modules['pygls'] = None; sys.argv = ['rbcc', 'lsp']; from rbcc.cli import main; main()"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr == 'error: the language server needs pygls: pip install "rbcc[editor]"\n'


def test_a_name_that_no_file_can_have_is_that_of_an_unsaved_document() -> None:
    assert Server().path("file:///a%00b.yaml").name == "a%00b.yaml"
