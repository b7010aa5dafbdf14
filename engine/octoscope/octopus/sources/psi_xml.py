"""PSI-MI XML, versions 2.5 and 3.0, compact or expanded: bait and prey as undirected pairs."""

from __future__ import annotations

from typing import IO, Any

from octoscope.octopus.sources.psi_mi import (
    NEGATIVE,
    NO_PAIR,
    NO_PUBLICATION,
    Collected,
    first_identifier,
)
from octoscope.octopus.sources.xml import local, stream_elements

_TAGS = tuple(f"{{*}}{t}" for t in ("experimentDescription", "interactor", "interaction",
                                   "abstractInteraction", "entry", "entrySet"))  # fmt: skip


class _Entry:
    """What the elements of one entry say, by their ids, and inside the interaction being read."""

    def __init__(self) -> None:
        self.interactors: dict[str, int | None] = {}
        self.experiments: dict[str, tuple[str, str]] = {}
        self.first: tuple[str, str] = ("", "")
        self.grouped: dict[str, list[Any]] = {}
        self.inside: list[int | None] = []  # interactors of an expanded interaction, in order
        self.own: tuple[str, str] | None = None  # its experiment


class XmlReader:
    """Reader of one file after the other; pairs go into ``state``."""

    def __init__(self, state: Collected) -> None:
        self.state = state
        self.study = self.ordinal = 0
        self.entry = _Entry()

    def read(self, handle: IO[bytes], where: str) -> None:
        """Read a file.

        Raises
        ------
        InputError
            If it is not well-formed or breaks off; finished entries are kept.
        """
        self.ordinal, self.entry = 0, _Entry()
        for element in stream_elements(handle, where, _TAGS):
            kind = local(element)
            above = element.getparent()
            if kind == "experimentDescription":
                self._experiment(element, above)
            elif kind == "interactor" and above is not None:
                if local(above) == "interactorList":
                    self.entry.interactors[element.get("id", "")] = self._interactor(element)
                elif local(above) == "participant":
                    self.entry.inside.append(self._interactor(element))
            elif kind in ("interaction", "abstractInteraction"):
                self._interaction(element)
                self.entry.inside, self.entry.own = [], None
            elif kind == "entry":
                self._finish()
                self.study += 1
                self.entry = _Entry()

    def break_off(self) -> int:
        """Forget the entry that a damaged file left unfinished; return its interactions."""
        lost, self.entry = len(self.entry.grouped), _Entry()
        return lost

    def _experiment(self, element: Any, above: Any) -> None:
        reference = _find(element, "bibref/xref/primaryRef")
        publication = ""
        if reference is not None and reference.get("db"):
            publication = f"{reference.get('db')}:{reference.get('id')}"
        details = (_name(element, "interactionDetectionMethod"), publication)
        if (
            above is not None
            and above.getparent() is not None
            and (local(above.getparent()) != "entry")
        ):  # expanded: stands in its interaction
            self.entry.own = self.entry.own or details
            return
        if not self.entry.experiments:
            self.entry.first = details
        self.entry.experiments[element.get("id", "")] = details

    def _interactor(self, element: Any) -> int | None:
        state = self.state
        label = _text(element, "names/shortLabel")
        primary = _find(element, "xref/primaryRef")
        if not label or primary is None:
            state.counts.note("interactor without a name or primary reference", 1, [label])
            return None
        references = [primary]
        if state.mode == "corrected":  # a second name of the same thing, no part and no relative
            seconds = element.iterfind(_path(element, "xref/secondaryRef"))
            references += [x for x in seconds if x.get("refType") in (None, "identity")]
        identifier = first_identifier(
            ((x.get("db") or "", x.get("id") or "") for x in references), state.mode
        )
        organism = _find(element, "organism")
        stated = organism.get("ncbiTaxId") if organism is not None else None
        if identifier is None or not state.ours(stated, identifier, label):
            return None
        at = state.species_of(label, label)
        state.identifiers[(at, *identifier)] = None
        for reference in element.iterfind(_path(element, "xref/secondaryRef")):
            if reference.get("db") == "intact" and reference.get("id"):
                state.identifiers[(at, "intact", reference.get("id"))] = None
        if primary.get("db") == "intact" and primary.get("id"):
            state.identifiers[(at, "intact", primary.get("id"))] = None
        return at

    def _interaction(self, element: Any) -> None:
        state, entry = self.state, self.entry
        state.counts.read += 1
        self.ordinal += 1
        corrected = state.mode == "corrected"
        if corrected and _text(element, "negative") == "true":
            state.counts.drop(NEGATIVE, 1)
            return
        inside = iter(entry.inside)
        participants: list[tuple[int | None, str]] = []
        for participant in element.iterfind(_path(element, "participantList/participant")):
            if _find(participant, "interactor") is not None:
                at = next(inside, None)
            else:
                at = entry.interactors.get(_text(participant, "interactorRef"))
            participants.append((at, _name(participant, "experimentalRoleList/experimentalRole")))
        baits = [at for at, role in participants if at is not None and role == "bait"]
        preys = [at for at, role in participants if at is not None and role == "prey"]
        if corrected and len(participants) == 2 and len(baits) + len(preys) < 2:
            # two participants are a pair, whatever their roles (neutral components)
            both = [at for at, _ in participants if at is not None]
            baits, preys = both[:1], both[1:]
        own = _text(element, "experimentList/experimentRef")
        method, publication = entry.first
        if corrected or entry.own is not None:
            method, publication = entry.own or entry.experiments.get(own, entry.first)
        name = _text(element, "names/shortLabel")
        details = [baits, preys, _name(element, "interactionType"), method, publication,
                 self.ordinal]  # fmt: skip
        if state.mode == "peer" and name in entry.grouped:  # the peer joins those of one name
            known = entry.grouped[name]
            known[0] += baits
            known[1] += preys
            state.counts.merged += 1
            return
        key = name if state.mode == "peer" else str(self.ordinal)
        entry.grouped[key] = details

    def _finish(self) -> None:
        state = self.state
        for baits, preys, kind, method, publication, ordinal in self.entry.grouped.values():
            if len(baits) != 1 or not preys:
                state.counts.drop(NO_PAIR, 1)
            elif not publication:
                state.counts.drop(NO_PUBLICATION, 1)
            else:
                study = self.study if state.mode == "peer" else publication
                state.counts.kept += 1
                for prey in preys:
                    state.rows.append((study, baits[0], prey, method, kind, publication,
                                       state.file, ordinal))  # fmt: skip


def _path(element: Any, path: str) -> str:
    """Return a path in the namespace of an element, which tells the version of the format."""
    namespace = element.tag.rpartition("}")[0]
    return "/".join(f"{namespace}}}{p}" if namespace else p for p in path.split("/"))


def _find(element: Any, path: str) -> Any:
    return element.find(_path(element, path))


def _text(element: Any, path: str) -> str:
    return (element.findtext(_path(element, path)) or "").strip()


def _name(element: Any, path: str) -> str:
    """Return the full name of a term, else the short one."""
    return _text(element, f"{path}/names/fullName") or _text(element, f"{path}/names/shortLabel")
