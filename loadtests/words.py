"""Ordinary English words, and texts made of them: a tokenizer sees what it sees in real prompts."""

import random
from typing import Final

WORDS: Final = tuple(
    """
    about above across after again against almost along already also always among animal another answer any apple area
    around autumn away back ball bank basket beach because become bed before begin behind believe below best between
    big bird black blue board boat body book both bottle bottom box boy branch bread bridge bright bring brother brown
    build building burn busy butter buy call came camera can car care carry castle cat catch center chair change cheap
    child choose church circle city class clean clear climb clock close cloud coat coffee cold color come common
    complete cook copper corn corner country cover cow cross crowd cup cut dance dark daughter day deep desert desk
    different dinner direction dog door down draw dream dress drink drive dry during each ear early earth east easy
    eat edge egg eight empty end engine enough evening every eye face fall family far farm fast father feel few field
    fifty find fire first fish five floor flower fly follow food foot forest forget four free fresh friend from fruit
    full garden gate gave girl give glass gold good grandmother grass gray great green ground group grow guest half
    hall hand happy hard hat have head hear heart heavy help here high hill history hold hole holiday home hope horse
    hot hour house how hundred hungry ice idea island job join journey jump keep key kind king kitchen knife know lady
    lake lamp land language large last late laugh leaf learn leave left leg lesson letter library light line lion list
    listen little live long look lost loud love low lunch machine make many map market matter meal mean meet memory
    metal middle milk mind minute money month moon morning most mother mountain mouth move music name narrow near neck
    need never new news next night noise north nose note nothing number ocean office often oil old once onion open
    orange order other outside over own page paint pair paper parent park part party pass past pay pen people perhaps
    person picture piece place plan plant plate play please pocket point poor possible power pretty price pull purple
    push put question quick quiet quite rain reach read ready real red remember rest rice rich ride right ring river
    road rock roof room round rule run sad safe sail salt same sand save say school science sea season second see seed
    sell send seven shadow shape share sheep ship shirt shoe shop short shoulder show side silver simple since sing
    sister sit six size skin sky sleep slow small smell smile snow soft some son song soon sound soup south space
    speak spend spoon sport spring square stand star start station stay step still stone stop storm story street strong
    student study sugar summer sun sure sweet swim table talk tall teach tell ten test thank thick thin thing think
    thousand three through ticket tie time tired today together tomorrow tonight top touch toward town train travel
    tree trip true try turn twelve twenty uncle under until use useful valley very village visit voice wait walk wall
    want warm wash watch water way weather week weight well west wet wheel when where white wide wife wild wind window
    winter wish with without woman wonder wood word work world worry write wrong year yellow yes yesterday young
    """.split()  # noqa: SIM905 - a list would be a page long
)


def text(draw: random.Random, count: int, opening: str = "") -> str:
    """Return so many words in sentences of a dozen; `opening` comes first and is counted."""
    first = opening.split()[:count]
    words = first + draw.choices(WORDS, k=count - len(first))
    sentences = [" ".join(words[at : at + 12]) for at in range(0, len(words), 12)]
    return ". ".join(sentence[:1].upper() + sentence[1:] for sentence in sentences) + "."


def spelled(number: int) -> str:
    """Return the words that write a number, the lowest digit first: texts that begin so differ at their first words."""
    digits = []
    while True:
        number, digit = divmod(number, len(WORDS))
        digits.append(WORDS[digit])
        if not number:
            return " ".join(digits)
