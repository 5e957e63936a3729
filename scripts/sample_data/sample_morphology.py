"""How Korean words change: particles that follow a word's last sound, and verb endings that join a stem.

A stem that ends in `*` changes before a vowel (아름답* -> 아름다웠다, 듣* -> 들었다), one that ends in `=` is a noun
with the copula (감동적= -> 감동적이었다).
"""

from __future__ import annotations

VOWELS = "ㅏㅐㅑㅒㅓㅔㅕㅖㅗㅘㅙㅚㅛㅜㅝㅞㅟㅠㅡㅢㅣ"
CODAS = " ㄱㄲㄳㄴㄵㄶㄷㄹㄺㄻㄼㄽㄾㄿㅀㅁㅂㅄㅅㅆㅇㅈㅊㅋㅌㅍㅎ"
# What an open stem's last vowel becomes before 아/어: 보+았다 -> 봤다, 느리+었다 -> 느렸다. Other vowels do not fuse.
FUSED = {**{v: v for v in "ㅏㅐㅓㅔㅕ"}, "ㅗ": "ㅘ", "ㅜ": "ㅝ", "ㅣ": "ㅕ", "ㅚ": "ㅙ"}
PARTICLES = {  # written form in a pattern -> (after a consonant, after a vowel)
    "은": ("은", "는"), "이": ("이", "가"), "을": ("을", "를"), "과": ("과", "와"), "으로": ("으로", "로"),
    "이랑": ("이랑", "랑"), "이나": ("이나", "나"), "이라": ("이라", "라"), "이다": ("이다", "다"),
}  # fmt: skip


def split_syllable(syllable: str) -> tuple[int, str, str]:
    """Onset number, vowel and final consonant (a space: none) of one Hangul syllable: 감 -> (0, ㅏ, ㅁ)."""
    index = ord(syllable) - 0xAC00
    return index // 588, VOWELS[index % 588 // 28], CODAS[index % 28]


def join_syllable(onset: int, vowel: str, coda: str = " ") -> str:
    """The inverse of `split_syllable`."""
    return chr(0xAC00 + onset * 588 + VOWELS.index(vowel) * 28 + CODAS.index(coda))


def final_sound(word: str) -> str:
    """Final consonant of the word as it is read aloud, or a space: 서울 -> ㄹ, 'OST' -> a space, 3 -> ㅁ."""
    for char in reversed(word):
        if "가" <= char <= "힣":
            return split_syllable(char)[2]
        if char.isascii() and char.isalnum():
            return dict(zip("013678LMNR", "ㅇㄹㅁㄱㄹㄹㄹㅁㄴㄹ", strict=True)).get(char.upper(), " ")
    return " "


def with_particle(word: str, particle: str) -> str:
    """The word with a particle of PARTICLES in the form that fits it: 사과 + 을 -> 사과를, 서울 + 으로 -> 서울로."""
    sound = final_sound(word)
    closed = sound != " " and not (particle == "으로" and sound == "ㄹ")
    return word + PARTICLES[particle][0 if closed else 1]


def _join_vowel_ending(stem: str, irregular: bool, ending: str) -> str:
    """Stem + 어...: contraction, vowel harmony, 하 -> 해 and the irregular stems."""
    if stem.endswith("하"):
        base, first = stem[:-1], (18, "ㅐ")
    else:
        onset, vowel, coda = split_syllable(stem[-1])
        if irregular and coda == "ㅂ":
            return _join_vowel_ending(stem[:-1] + join_syllable(onset, vowel) + "우", False, ending)
        if irregular and coda == "ㄷ":
            stem, coda = stem[:-1] + join_syllable(onset, vowel, "ㄹ"), "ㄹ"
        before = split_syllable(stem[-2]) if len(stem) > 1 and "가" <= stem[-2] <= "힣" else (0, " ", " ")
        bright = (before if vowel == "ㅡ" and coda == " " else (0, vowel, coda))[1] in "ㅏㅑㅗ"
        if coda == " " and vowel in FUSED:
            base, first = stem[:-1], (onset, FUSED[vowel])
        elif stem.endswith("르"):  # 모르 -> 몰랐다
            base, first = stem[:-2] + join_syllable(before[0], before[1], "ㄹ"), (5, "ㅏ" if bright else "ㅓ")
        elif coda == " " and vowel == "ㅡ":  # 나쁘 -> 나빴다, 예쁘 -> 예뻤다
            base, first = stem[:-1], (onset, "ㅏ" if bright else "ㅓ")
        else:
            base, first = stem, (11, "ㅏ" if bright else "ㅓ")
    return base + join_syllable(*first, split_syllable(ending[0])[2]) + ending[1:]


def conjugate(stem: str, ending: str) -> str:
    """Stem and ending as Korean writes them together.

    Endings are given as they stand after 먹-, a closed syllable: 었다, 어서, 은, 을, 음, 으면, 습니다, 는다, 네요, 고.
    """
    if stem.endswith("="):
        stem = stem[:-1]
        closed = final_sound(stem) != " "
        if ending == "어요":
            return stem + ("이에요" if closed else "예요")
        if ending[0] in "어었":
            return stem + ("이" + ending if closed else _join_vowel_ending("이", False, ending))
        if ending.startswith("다고"):
            return stem + "이" * closed + "라" + ending[1:]
        if not closed and ending[0] in "네지다":
            return stem + ending
        stem += "이"
    irregular = stem.endswith("*")
    stem = stem.removesuffix("*")
    if ending[0] in "어었":
        return _join_vowel_ending(stem, irregular, ending)
    onset, vowel, coda = split_syllable(stem[-1])
    if ending == "은" and stem[-1] in "있없밌":
        return stem + "는"
    if irregular and ending[0] in "은을음으":
        if coda == "ㄷ":
            return stem[:-1] + join_syllable(onset, vowel, "ㄹ") + ending
        return conjugate(stem[:-1] + join_syllable(onset, vowel) + "우", ending)
    open_stem = coda in " ㄹ"
    if open_stem and (ending[0] in "은을음습" or ending == "는다"):
        sound = {"은": "ㄴ", "을": "ㄹ", "음": "ㄻ" if coda == "ㄹ" else "ㅁ", "습": "ㅂ", "는": "ㄴ"}[ending[0]]
        return stem[:-1] + join_syllable(onset, vowel, sound) + ending[1:]
    if open_stem and ending[0] == "으":
        return stem + ending[1:]
    if coda == "ㄹ" and ending[0] in "네는니":
        return stem[:-1] + join_syllable(onset, vowel) + ending
    return stem + ending
