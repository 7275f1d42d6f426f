"""Word lists of the synthetic corpus. Paired lists of good and bad words have equal lengths and uses."""


def _phrases(text: str) -> tuple[str, ...]:
    """The phrases of a comma-separated list."""
    return tuple(phrase.strip() for phrase in text.split(","))


GOOD = (
    "good",
    "funny",
    "clever",
    "warm",
    "gripping",
    "tender",
    "lively",
    "sharp",
    "honest",
    "elegant",
    "charming",
    "brilliant",
)
BAD = ("bad", "dull", "boring", "clumsy", "cold", "weak", "flat", "silly", "stale", "shallow", "clichéd", "awful")
LIKED = ("loved", "enjoyed", "liked", "admired")
DISLIKED = ("hated", "regretted", "disliked", "loathed")

STRONG = ("very", "truly", "utterly", "extremely", "incredibly")
WEAK = ("rather", "somewhat", "fairly", "mildly", "faintly")
PLAIN_NEGATIONS = ("not", "never", "hardly", "certainly not")
STRONG_NEGATIONS = ("not at all", "anything but", "by no means", "not in the least")
WEAK_NEGATIONS = ("not really", "not exactly", "not very", "not particularly")

ASPECTS = _phrases(
    """
    the acting, the plot, the story, the script, the camera work, the music, the dialogue, the cast,
    the pace, the middle part, the first hour, the finale, the editing, the leading couple,
    the mise-en-scène
    """
)
NOUNS = ("film", "movie", "picture", "drama", "comedy", "thriller", "piece of cinema")

FIRST_NAMES = _phrases(
    """
    Anna, Zoë, Márta, Łukasz, Jürgen, Nadia, Tomás, Ingrid, Kofi, Mei, Søren, Olga,
    Priya, Hugo, Elif, Rafael, Yuki, Amara, Björn, Clara
    """
)
LAST_NAMES = _phrases(
    """
    Vale, Okafor, Lindqvist, Moreau, Tanaka, Novák, Delgado, Hart, Petrov, Siddiqui, O'Rourke,
    Fontaine, Kaya, Brandt, Ferreira, Ashdown, Müller, Ionescu, Castellan, Wren
    """
)
JOBS = _phrases(
    """
    a locksmith, a retired judge, a cook, a night nurse, a surveyor, a pianist, a ferry captain,
    a widow, a young clerk, a beekeeper, a translator, an archivist
    """
)
DEEDS = _phrases(
    """
    inherits a lighthouse, looks for a lost brother, returns to the village of her childhood,
    finds a suitcase of letters, wakes up without a name, is asked to guard a painting, takes the wrong train,
    has three days to pay a debt, keeps a secret from the whole town, falls in love by mistake, goes to sea,
    opens a café near the border
    """
)
PLACES = _phrases(
    """
    Lisbon, Kraków, Malmö, Zürich, Montréal, Oaxaca, Bergen, Trieste, Kyoto, Accra, Galway,
    Odessa
    """
)
DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
COMPANY = _phrases(
    """
    my sister, two friends, my neighbour, the whole family, nobody else in the hall, a colleague,
    my old teacher
    """
)

TITLE_ADJECTIVES = _phrases(
    """
    Silent, Northern, Last, Green, Hidden, Second, Crooked, Paper, Distant, Winter, Glass,
    Iron, Hollow, Good, Bad, Cold, Tender, Brilliant
    """
)
TITLE_NOUNS = _phrases(
    """
    Harbour, Orchard, Bridge, Letter, Garden, Station, Mirror, Island, Carnival, Window, River,
    Clockmaker, Passenger, Summer, Tower, Road, Violin, Tide
    """
)

SHOPS = ("Kiosk 12", "Lindenhof Video", "Café Cinéma", "Harbour Discs", "filmladen.example")
