"""The description of a model in the form that a file name asks for."""

from rbcc.compiler.driver import Compiled


FORMS = (".md", ".html", ".tex")


def document(compiled: Compiled, form: str) -> str:
    """The page of a model as Markdown (`.md`), self-contained HTML (`.html`) or LaTeX (`.tex`)."""
    from rbcc.compiler.backends.docs.document import page

    if form == ".html":
        from rbcc.compiler.backends.docs.html import html as render
    elif form == ".tex":
        from rbcc.compiler.backends.docs.latex import latex as render
    else:
        from rbcc.compiler.backends.docs.markdown import markdown as render
    return render(page(compiled.model, compiled.tables))
