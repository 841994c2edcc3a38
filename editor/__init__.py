"""Editor support: a language server. It asks the compiler, and knows nothing of the language by itself."""


class EditorError(Exception):
    """The language server cannot be started; the message says what to do."""


def serve() -> None:
    """Serves one editor over standard input and output until it leaves. Raises EditorError without pygls."""
    try:
        import pygls  # noqa: F401
    except ImportError as error:
        raise EditorError('the language server needs pygls: pip install "rbcc[editor]"') from error
    from rbcc.editor.server import start

    start()
