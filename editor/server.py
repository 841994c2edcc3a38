"""The language server: what the protocol asks, put to the other modules of this package."""

import asyncio
import logging
import sys
from contextlib import redirect_stdout
from importlib.metadata import version
from pathlib import Path

from lsprotocol import types
from pygls.exceptions import JsonRpcException
from pygls.lsp.server import LanguageServer
from pygls.uris import to_fs_path, urlparse

from rbcc.compiler.diagnostics import Severity, Source, Span
from rbcc.compiler.ir.types import Role
from rbcc.compiler.semantics.occurrences import What
from rbcc.editor.complete import Offer, complete
from rbcc.editor.descriptions import page_of
from rbcc.editor.diagnostics import Finding, findings
from rbcc.editor.navigate import definition, hover
from rbcc.editor.rename import Refused, references, renamable, rename
from rbcc.editor.symbols import Part, outline
from rbcc.editor.workspace import Workspace


PAUSE = 0.1  # seconds without typing after which findings are shown anew

_SEVERITIES = {Severity.ERROR: types.DiagnosticSeverity.Error, Severity.WARNING: types.DiagnosticSeverity.Warning}
_OFFERS = {
    Role.PARAMETER: types.CompletionItemKind.Constant,
    Role.STATE: types.CompletionItemKind.Field,
    Role.ACTION: types.CompletionItemKind.Event,
    What.AGENT: types.CompletionItemKind.Class,
    What.INDEX: types.CompletionItemKind.TypeParameter,
    What.FUNCTION: types.CompletionItemKind.Function,
    What.UNIT: types.CompletionItemKind.Unit,
    "key": types.CompletionItemKind.Property,
    "word": types.CompletionItemKind.Keyword,
    "option": types.CompletionItemKind.EnumMember,
    "file": types.CompletionItemKind.File,
}
_PARTS = {
    "agents": types.SymbolKind.Class,
    "parameters": types.SymbolKind.Constant,
    "state": types.SymbolKind.Field,
    "actions": types.SymbolKind.Event,
    "equations": types.SymbolKind.Namespace,
    "solve": types.SymbolKind.Namespace,
    "unknowns": types.SymbolKind.Variable,
    "table": types.SymbolKind.Namespace,
    "equation": types.SymbolKind.Variable,
}


class Server(LanguageServer):
    def __init__(self) -> None:
        # Specs are small: with the whole text at each change nothing can get out of step.
        super().__init__("rbcc", version("rbcc"), text_document_sync_kind=types.TextDocumentSyncKind.Full)
        self.specs = Workspace()
        self.uris: dict[Path, str] = {}  # of open documents, as the editor writes them
        self.shown: set[Path] = set()  # documents that have findings in the editor
        self.timer: asyncio.TimerHandle | None = None

    # --- documents ---------------------------------------------------------------------------------------------

    def path(self, uri: str) -> Path:
        """The file of a document; a document that is none yet is named as if it lay in the working folder."""
        name = to_fs_path(uri) or urlparse(uri)[2] or "untitled"
        return Path(name.replace("\0", "%00")).resolve()  # which no file system has in a name

    def uri(self, source: Source) -> str:
        path = Path(source.name).resolve()
        return self.uris.get(path) or path.as_uri()

    def take(self, uri: str) -> None:
        path = self.path(uri)
        self.uris[path] = uri
        self.specs.write(path, self.workspace.get_text_document(uri).source)

    def spec(self, uri: str) -> Path | None:
        """The file of an open document that is a spec."""
        path = self.path(uri)
        return path if path in self.specs.texts and self.specs.is_spec(path) else None

    def publish_soon(self) -> None:
        if self.timer is not None:
            self.timer.cancel()
        self.timer = asyncio.get_running_loop().call_later(PAUSE, self.publish)

    def publish(self) -> None:
        """Shows the findings of all open specs that changed, or whose parents did."""
        for path in self.specs.outdated():
            if self.specs.is_spec(path):
                self.show(path, [self.finding(one) for one in findings(self.specs.analysis(path))])
            elif path in self.shown:
                self.show(path, [])

    def show(self, path: Path, found: list[types.Diagnostic]) -> None:
        self.shown = self.shown | {path} if found else self.shown - {path}
        uri = self.uris[path]
        version = self.workspace.text_documents[uri].version if uri in self.workspace.text_documents else None
        self.text_document_publish_diagnostics(types.PublishDiagnosticsParams(uri, found, version))

    # --- places ------------------------------------------------------------------------------------------------

    def offset(self, source: Source, position: types.Position) -> int:
        """The offset of a position, the columns of which are counted as the editor counts."""
        if position.line >= len(source.line_starts):
            return len(source.text)
        line = source.line(position.line + 1)
        column = units = 0
        while column < len(line) and units < position.character:
            units += self.workspace.position_codec.client_num_units(line[column])
            column += 1
        return source.offset(position.line, column)

    def position(self, source: Source, offset: int) -> types.Position:
        line, column = source.position(offset)
        before = source.line(line)[: column - 1]
        return types.Position(line - 1, self.workspace.position_codec.client_num_units(before))

    def range(self, span: Span) -> types.Range:
        return types.Range(self.position(span.source, span.start), self.position(span.source, span.end))

    def location(self, span: Span) -> types.Location:
        return types.Location(self.uri(span.source), self.range(span))

    def where(self, document: types.TextDocumentIdentifier, position: types.Position) -> tuple[Path, int] | None:
        """The spec that a request speaks of and the offset in its text as it is now."""
        path = self.spec(document.uri)
        if path is None:
            return None
        return path, self.offset(Source(str(path), self.specs.texts[path]), position)

    # --- what is shown -----------------------------------------------------------------------------------------

    def finding(self, finding: Finding) -> types.Diagnostic:
        found = finding.diagnostic
        page = page_of(found.code)
        related = [
            types.DiagnosticRelatedInformation(self.location(label.span), label.text) for label in finding.labels
        ]
        return types.Diagnostic(
            self.range(finding.span),
            finding.text,
            _SEVERITIES.get(found.severity, types.DiagnosticSeverity.Information),
            found.code,
            types.CodeDescription(page.as_uri()) if page else None,
            "rbcc",
            [types.DiagnosticTag.Unnecessary] if found.code == "RB207" else None,
            related,
        )

    def offer(self, offer: Offer, source: Source, offset: int) -> types.CompletionItem:
        place = self.range(Span(source, offset - offer.length, offset))
        return types.CompletionItem(
            offer.label,
            kind=_OFFERS.get(offer.what, types.CompletionItemKind.Variable),
            detail=offer.detail or None,
            documentation=types.MarkupContent(types.MarkupKind.Markdown, offer.doc) if offer.doc else None,
            sort_text=f"{offer.rank}{offer.label}",
            text_edit=types.TextEdit(place, offer.text),
        )

    def part(self, part: Part) -> types.DocumentSymbol:
        kind = _PARTS.get(part.what, types.SymbolKind.Property)
        inner = [self.part(one) for one in part.parts]
        return types.DocumentSymbol(part.name, kind, self.range(part.extent), self.range(part.key), children=inner)


server = Server()


@server.feature(types.INITIALIZE)
def initialize(ls: Server, params: types.InitializeParams) -> None:
    folders = [folder.uri for folder in params.workspace_folders or ()] or [params.root_uri or ""]
    ls.specs = Workspace(ls.path(uri) for uri in folders if to_fs_path(uri))


@server.feature(types.INITIALIZED)
def initialized(ls: Server, params: types.InitializedParams) -> None:
    """Asks to be told of files that change outside the editor, where the editor can tell."""
    workspace = ls.client_capabilities.workspace
    watched = workspace.did_change_watched_files if workspace else None
    if watched is not None and watched.dynamic_registration:
        watchers = [types.FileSystemWatcher(pattern) for pattern in ("**/*.yaml", "**/*.yml", "**/*.py")]
        options = types.DidChangeWatchedFilesRegistrationOptions(watchers)
        one = types.Registration("files", types.WORKSPACE_DID_CHANGE_WATCHED_FILES, options)
        ls.client_register_capability(types.RegistrationParams([one]))


@server.feature(types.WORKSPACE_DID_CHANGE_WORKSPACE_FOLDERS)
def folders_changed(ls: Server, params: types.DidChangeWorkspaceFoldersParams) -> None:
    ls.specs.folders = [ls.path(uri) for uri in ls.workspace.folders if to_fs_path(uri)]


@server.feature(types.TEXT_DOCUMENT_DID_OPEN)
def opened(ls: Server, params: types.DidOpenTextDocumentParams) -> None:
    ls.take(params.text_document.uri)
    ls.publish()


@server.feature(types.TEXT_DOCUMENT_DID_CHANGE)
def changed(ls: Server, params: types.DidChangeTextDocumentParams) -> None:
    ls.take(params.text_document.uri)
    ls.publish_soon()


@server.feature(types.TEXT_DOCUMENT_DID_CLOSE)
def closed(ls: Server, params: types.DidCloseTextDocumentParams) -> None:
    path = ls.path(params.text_document.uri)
    ls.show(path, [])
    ls.specs.close(path)
    ls.uris.pop(path, None)
    ls.publish()


@server.feature(types.TEXT_DOCUMENT_DID_SAVE)
def saved(ls: Server, params: types.DidSaveTextDocumentParams) -> None:
    ls.specs.files_changed()
    ls.publish_soon()


@server.feature(types.WORKSPACE_DID_CHANGE_WATCHED_FILES)
def files_changed(ls: Server, params: types.DidChangeWatchedFilesParams) -> None:
    ls.specs.files_changed()
    ls.publish_soon()


@server.feature(types.TEXT_DOCUMENT_HOVER)
def hover_request(ls: Server, params: types.HoverParams) -> types.Hover | None:
    where = ls.where(params.text_document, params.position)
    found = hover(ls.specs.analysis(where[0]), where[1]) if where else None
    if found is None:
        return None
    return types.Hover(types.MarkupContent(types.MarkupKind.Markdown, found[0]), ls.range(found[1]))


@server.feature(types.TEXT_DOCUMENT_DEFINITION)
def definition_request(ls: Server, params: types.DefinitionParams) -> list[types.Location]:
    where = ls.where(params.text_document, params.position)
    found = definition(ls.specs.analysis(where[0]), where[1], ls.specs) if where else []
    return [ls.location(span) for span in found]


@server.feature(types.TEXT_DOCUMENT_REFERENCES)
def references_request(ls: Server, params: types.ReferenceParams) -> list[types.Location]:
    where = ls.where(params.text_document, params.position)
    found = references(ls.specs, *where, params.context.include_declaration) if where else []
    return [ls.location(span) for span in found]


@server.feature(types.TEXT_DOCUMENT_COMPLETION, types.CompletionOptions(trigger_characters=[".", "["]))
def completion_request(ls: Server, params: types.CompletionParams) -> list[types.CompletionItem]:
    where = ls.where(params.text_document, params.position)
    if where is None:
        return []
    path, offset = where
    source = Source(str(path), ls.specs.texts[path])
    found = complete(source, offset, ls.specs.latest(path), ls.specs)
    return [ls.offer(one, source, offset) for one in found]


@server.feature(types.TEXT_DOCUMENT_PREPARE_RENAME)
def prepare_rename_request(ls: Server, params: types.PrepareRenameParams) -> types.Range | None:
    where = ls.where(params.text_document, params.position)
    try:
        return ls.range(renamable(ls.specs, *where).span) if where else None
    except Refused as refused:
        raise _refusal(refused) from None


@server.feature(types.TEXT_DOCUMENT_RENAME, types.RenameOptions(prepare_provider=True))
def rename_request(ls: Server, params: types.RenameParams) -> types.WorkspaceEdit | None:
    where = ls.where(params.text_document, params.position)
    if where is None:
        return None
    try:
        places = rename(ls.specs, *where, params.new_name)
    except Refused as refused:
        raise _refusal(refused) from None
    return types.WorkspaceEdit(
        {
            ls.uri(spans[0].source): [types.TextEdit(ls.range(span), params.new_name) for span in spans]
            for spans in places.values()
        }
    )


@server.feature(types.TEXT_DOCUMENT_DOCUMENT_SYMBOL)
def outline_request(ls: Server, params: types.DocumentSymbolParams) -> list[types.DocumentSymbol]:
    path = ls.spec(params.text_document.uri)
    return [ls.part(part) for part in outline(ls.specs.analysis(path))] if path else []


def _refusal(refused: Refused) -> JsonRpcException:
    return JsonRpcException(str(refused), code=types.LSPErrorCodes.RequestFailed)


def start() -> None:
    """Serves over standard input and output until the editor leaves."""
    # A refusal is an answer, not a mistake of the server: its log is for mistakes.
    answers = logging.getLogger("pygls.protocol.json_rpc")
    answers.addFilter(lambda record: not (record.exc_info and isinstance(record.exc_info[1], JsonRpcException)))
    output = sys.stdout.buffer
    with redirect_stdout(sys.stderr):  # what a Python file that a spec uses prints is not an answer to the editor
        server.start_io(stdout=output)
