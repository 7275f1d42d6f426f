"""Column names, and what they usually contain."""

import re
import unicodedata

from pipeline.readers.roles import LABEL_NAMES

_WORD = re.compile(r"[^\W\d_]+|\d+")
_CAMEL = re.compile(r"(?<=[a-z])(?=[A-Z])")


def listed(names: str) -> frozenset[str]:
    """Splits blank-separated names into a set."""
    return frozenset(names.split())


LABELS = (
    *LABEL_NAMES,
    *("verdict", "grade", "emotion", "recommended", "recommend", "is_recommended", "voted_up", "is_positive"),
    *("bewertung", "sterne", "stimmung", "note", "notes", "etoiles", "etoile", "evaluation", "polarite", "etiquette"),
    *("puntuacion", "calificacion", "valoracion", "estrellas", "sentimiento", "etiqueta", "nota", "avaliacao", "estrelas"),
    *("sentimento", "voto", "valutazione", "stelle", "punteggio", "beoordeling", "sterren", "waardering", "betyg", "ocena"),
    *("hodnoceni", "ertekeles", "puan", "yildiz", "оценка", "рейтинг", "评分", "星级", "情感", "標籤", "标签", "評価"),
    *("星", "별점", "평점", "감성"),
)
"""Names of label columns, most reliable first, as returned by `plain`."""
NO_LABELS = listed(
    "helpful helpfulness vote votes upvotes downvotes useful funny cool like likes dislikes thumbs numerator denominator "
    "count counts num number total average avg mean confidence reason time timestamp date day month year hour created "
    "updated posted when age price cost version verified purchase language lang locale country city state location region "
    "user author reviewer gender device platform split fold page rank index position"
)
"""Words in names of columns that are not labels, however few values they have."""
SENTIMENTS = listed(
    "pos neg neu positive negative neutral mixed positiv negativ gemischt positif negatif neutre positivo negativo neutro "
    "positief negatief neutraal good bad gut schlecht bon mauvais bueno malo fresh rotten"
)
"""Values of labels, as returned by `plain`."""
IDS = listed("id ids nr no num number nummer numero key uuid guid kennung")
OTHERS_IDS = listed("user author reviewer customer member account profile parent thread")
"""Words in names of IDs of something other than reviews."""
GROUPS = listed(
    "product business film movie item asin hotel restaurant app application game book isbn place listing drug wine beer "
    "airline store shop company firm show series song album recipe course property venue artikel produkt buch firma laden "
    "producto pelicula libro empresa tienda produit livre entreprise magasin prodotto libri azienda produto filme livro "
    "empresa winkel товар фильм книга"
)
"""Words for what reviews are about."""
GROUP_PARTS = GROUPS | IDS | {"name", "title", "code", "slug", "parent", "uid"}
SPLIT_NAMES = ("split", "partition", "subset", "set", "fold", "dataset")


def words(name: str) -> tuple[str, ...]:
    """The words of a name, in lower case and without accents: `ProductId` and `product_id` are `product`, `id`."""
    decomposed = unicodedata.normalize("NFKD", _CAMEL.sub(" ", name))
    bare = "".join(character for character in decomposed if not unicodedata.combining(character))
    return tuple(_WORD.findall(unicodedata.normalize("NFC", bare).casefold().replace("_", " ")))


def plain(name: str) -> str:
    """A name in one spelling: `Star Rating`, `starRating` and `star_rating` are `star_rating`."""
    return "_".join(words(name))


def label_rank(name: str) -> int | None:
    """How likely a name is that of a label column: smaller is more likely; None if it says nothing."""
    if (whole := plain(name)) in LABELS:
        return LABELS.index(whole)
    parts = words(name)
    if NO_LABELS & set(parts):
        return None
    ranks = [LABELS.index(part) for part in parts if part in LABELS]
    return len(LABELS) + min(ranks) if ranks else None


def is_id(name: str) -> bool:
    """Whether a name is that of a review's ID."""
    parts = words(name)
    if not parts or parts[0] == "unnamed" or parts[-1] not in IDS:
        return parts == ("reviewid",)
    return "review" in parts or not (OTHERS_IDS | GROUPS) & set(parts)


def is_group(name: str) -> bool:
    """Whether a name is that of the reviewed thing, such as `ProductId` or `film`."""
    parts = set(words(name.replace("productid", "product_id")))
    return bool(parts & GROUPS) and parts <= GROUP_PARTS
