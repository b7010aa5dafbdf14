"""What a finished run is handed on as: report, headline, consensus network for other programs."""

from __future__ import annotations

from pathlib import Path

from octoscope.api.opened_run import OpenedRun
from octoscope.extras import extras_needed
from octoscope.output_files import new_file, new_folder, require_new, require_outside


class RunOutputs(OpenedRun):
    """A finished run with its report and exports.

    Examples
    --------
    >>> run = oc.open_run(RUN)
    >>> Path(run.report).name
    'index.html'
    >>> len(run.findings()) > 0
    True
    """

    @property
    def report(self) -> str:
        """Path or URL of the HTML report.

        Raises
        ------
        DamagedRunError
            If the file does not match its digest.
        """
        return self.results.report

    @extras_needed()
    def write_report(
        self,
        path: str | Path,
        *,
        gene_set: str | None = None,
        view: str | None = None,
        by_model: bool = False,
        force: bool = False,
    ) -> None:
        """Write a report that shows another gene set or view, or has a page per model.

        Parameters
        ----------
        path
            HTML file to write; with ``by_model`` a new folder.
        gene_set, view
            As declared in the configuration; None: the first.
        by_model
            Write ``index.html`` and a page with all rows of each model. The page of a large run
            holds fewer rows of each table.
        force
            Replace a file that is there.

        Raises
        ------
        InputError
            If the file or folder may not be written, or the gene set or view was not declared.

        Examples
        --------
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     oc.open_run(RUN).write_report(f"{folder}/logit.html", view="logit")
        ...     Path(folder, "logit.html").stat().st_size > 10_000
        True
        """
        if by_model:
            from octoscope.report.pages_by_model import write_pages

            require_outside(Path(path), inputs=self.inputs)
            with new_folder(path) as folder:
                write_pages(self.results, folder, gene_set, view)
            return
        with new_file(Path(path), force=force, inputs=self.inputs) as file:
            from octoscope.report.page import page  # matplotlib

            file.write_bytes(page(self.results, gene_set, view))

    @extras_needed()
    def findings(self) -> list[str]:
        """Return what the run found, a sentence each: the headline of the report."""
        from octoscope.report.first_screen import sentences

        return sentences(self.results)

    @extras_needed()
    def export(
        self,
        path: str | Path,
        *,
        kind: str | None = None,
        category: str | None = None,
        gene_set: str | None = None,
        view: str | None = None,
        model: str | None = None,
        min_groups: int = 1,
        top: int | None = None,
        force: bool = False,
    ) -> int:
        """Write the consensus network for other programs; returns the number of its pairs.

        Parameters
        ----------
        kind
            ``parquet``, ``graphml``, ``omnipath``, ``decoupler`` or ``anndata``; None: by the
            suffix of the path.
        category
            None: all, each with its own pairs.
        gene_set, view
            None: the first that there is.
        model
            The combined layers of one model instead of the consensus of all.
        min_groups
            Model groups that must share a pair.
        top
            Pairs per category, at most.
        force
            Replace a file that is there.

        Raises
        ------
        InputError
            If the file may not be written, or the run has no such network.
        """
        from octoscope.report.export import consensus_network, kind_of
        from octoscope.report.export import export as write

        target = Path(path)
        form = kind_of(target, kind)
        require_new(target, force=force, inputs=self.inputs)
        network = consensus_network(
            self.results, category=category, gene_set=gene_set, view=view, model=model,
            min_groups=min_groups, top=top,
        )  # fmt: skip
        return write(network, target, form, force=force)
