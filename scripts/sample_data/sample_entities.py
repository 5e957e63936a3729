"""Synthetic sentences with named entities, in the format of the Naver NER data. Used by `make_sample_data.py`.

A sentence pattern is a pattern of `sample_grammar.py` in which the slots in capitals are entities: in "{PER/이} 왔다."
the first word of the entity is labelled PER-B, with its particle, and further words of the entity PER-I; all other
words are O. {CVL_thing} is an entity of the type CVL. An entry that starts with `+` occurs only in the test file.
"""

from __future__ import annotations

import random

from sample_data.sample_formats import FAMILY, THUMB, Sample, owned_rng
from sample_data.sample_grammar import RULES, SLOT, Rules, parse_rules, render

TYPES = ("PER", "FLD", "AFW", "ORG", "LOC", "CVL", "DAT", "TIM", "NUM", "EVT", "ANM", "PLT", "MAT", "TRM")
TEST_ROWS = 300
LONG_WORDS = 320  # the longest sentence of each file has at least so many words

Tagged = list[tuple[str, str]]  # words and their labels

# (words, labels): sentences that readers and tokenizers may stumble over.
AWKWARD: dict[str, list[tuple[str, str]]] = {
    "train": [
        ("😂", "O"), (f"{FAMILY} 한바람 {THUMB} 좋아요 ❤️", "O PER-B O O O"), ("만세!", "O"), ("서라울", "LOC-B"),
        ("윤구름은 \u200b 가람은행 \u200b 본점에 갔다.", "PER-B O ORG-B ORG-I ORG-I O"), ("\u200b", "O"),
        ("문하늬가 \ufeff \x7f 웃었다.", "PER-B O O O"), ('"한별전자"는 "미르호"를 ‘공개’했다.', "ORG-B AFW-B O"),
        ("null 값과 NA 값은 007 요원도 모른다.", "O O O O NUM-B O O"), ("nan", "O"), ("1e5", "NUM-B"),
        ("ＫＴＸ가　아닌 ＡＢＣ　방송이 왔다.", "O ORG-B O"), ("金한결 會長이 首爾에 왔다.", "PER-B CVL-B LOC-B O"),
        ("\u1112\u1161\u11ab\u1107\u1167\u11af\u1109\u1175\u110b\u1166 갔다.", "LOC-B O"),  # 한별시에, decomposed
        ("##은 [UNK] 토큰을 [MASK] [SEP] ##가람시로 ## 바꿨다.", "O O O O O O O O"),
        ("서노을 가람시 미르전자 3월 오전 대표", "PER-B LOC-B ORG-B DAT-B TIM-B CVL-B"),  # one entity after another
        ("강이슬 유은솔 차미르 도가온이 모였다.", "PER-B PER-B PER-B PER-B O"),  # neighbours of one type
        ("한바람 가람 은행과 2월 5일 오후 3시에", "PER-B ORG-B ORG-I DAT-B DAT-I TIM-B TIM-I"),
        ("남해솔 어린이 재단의 10\u00a0km 달리기", "PER-B ORG-I ORG-I NUM-B EVT-B"),  # an I after another type's entity
        ("줄\u2028구분자와 \x85 사이에 백여울이 있다.", "O O O PER-B O"), ("\\ \\n \\t", "O O O"),
        ("🇰🇷 대표 송나래 🥇 획득ㅋㅋ", "LOC-B CVL-B PER-B NUM-B O"), ("...", "O"), ('"', "O"),
    ],
    "test": [
        ("🦕", "O"), ("\u200b 배새롬은 \u200b 다온시에 산다.", "O PER-B O LOC-B O"), ("전마루!", "PER-B"),
        ("null", "O"), (f"{FAMILY} {THUMB} 별내음시에서 🦕 만나요", "O O LOC-B O O"), ("NA", "O"), ("008", "NUM-B"),
        ("'달빛 정류장'과 \"소금꽃\"을 봤다.", "AFW-B AFW-I AFW-B O"), ("ＵＦＯ가 首爾에 왔다.", "O LOC-B O"),
        ("\u1106\u1175\u1105\u1173 전자에 갔다.", "ORG-B ORG-I O"), ("[CLS] ##과 [UNK]", "O O O"),  # 미르, decomposed
        ("강이슬 유은솔 솔병원 원장", "PER-B PER-B ORG-B CVL-B"), ("노아름 은행에 갔다.", "PER-B ORG-I O"),
    ],
}  # fmt: skip
PREDICT_SENTENCES = [
    "한바람 감독은 3월 2일 서라울시에서 새 영화를 공개했다.", "가람은행은 오전 9시에 문을 연다.",
    "송나래와 도가온은 다온 바둑 대회에서 처음 만났다.", "요즘은 시장에 사람이 많아서 정신이 없다.",
    "식물학자 백여울은 은방울꽃 12송이를 돌본다.", "오늘따라 하늘이 유난히 맑다 😂",
]  # fmt: skip

# Some words are entities in some sentences only: 말, 밤, 배, 사과, 감, 간, 하늘, 바람, 보라, 시장, 금.
NER_RULES = parse_rules("""
surname: 한 | 윤 | 서 | 강 | 문 | 유 | 차 | 백 | 도 | 배 | 송 | 남 | 전 | +모 | +봉

given: 바람 | 구름 | 노을 | 이슬 | 하늬 | 도담 | 은솔 | 여울 | 가온 | 새롬 | 나래 | 해솔 | 마루 | 다솜 | 슬기 | 하늘
| 보라 | 가람 | 별님 | +고은 | +다올 | +아람 | +늘봄

PER: {surname}{given} | {surname}{given} | {surname}{given} | {given} | {first} {last}

first: 리오 | 테사 | 마노 | +주노

last: 벨루아 | 카르딘 | 모렌

name: 한별 | 누리 | 가람 | 다온 | 미르 | 새봄 | 아라 | 해오름 | 푸른솔 | +온새미 | +나르샤

town: {city} | {city}시 | {name}군 | {name}동 | {name}읍

LOC: {town} | {town} | {city}시 {name}동 | {name}산 | {name}강 | {name}역 | {city} 중앙 공원 | {name} 해수욕장

ORG: {name}{firm} | {name}{firm} | {name} {firm} | {city} 시청 | {name} 어린이 재단 | {city} {team} | {name}당

firm: 전자 | 은행 | 대학교 | 신문 | 병원 | 건설 | 해운 | 연구소 | 출판사 | +제과 | +통신

team: 호랑이즈 | 돌고래즈 | 까치즈

DAT: {month}월 {day}일 | {month}월 {day}일 | {year}년 | {year}년 {month}월 | 지난해 | 어제 | 내일 | {weekday} | 올가을
| 지난 {weekday} | {day}일

weekday: 월요일 | 수요일 | 금요일 | 일요일

hour: 1 | 2 | 3 | 5 | 6 | 7 | 8 | 9 | 10 | 11

TIM: 오전 {hour}시 | 오후 {hour}시 | 오후 {hour}시 30분 | 새벽 {hour}시 | {hour}시 15분 | 정오

count: 개 | 대 | 권 | 그릇

NUM: {num}{count} | {num}{count} | 두 {count} | 세 {count}

NUM_people: {num}명 | {num}만 명 | 두 명 | 세 사람

NUM_rate: {num}퍼센트 | {num}억 원 | {num}만 원

NUM_animals: {num}마리 | 두 마리 | 세 마리

NUM_plants: {num}송이 | {num}그루 | 두 그루

CVL: 감독 | 기자 | 시장 | 소방관 | 요리사 | 가수 | 화가 | 교사 | 간호사 | 대표 | 회장 | 우주 비행사 | 동화 작가

CVL_thing: 축구 | 야구 | 김밥 | 만두 | 비빔밥 | 한복 | 피아노 | 바이올린 | 태권도 | 씨름 | 전통 무용 | 판소리 | +거문고

AFW: {adj} {noun} | {adj} {noun} | {film} | {name}호 | {name}대교 | {noun} 소나타

adj: 푸른 | 붉은 | 마지막 | 은빛 | 잊힌 | 조용한 | +낡은

noun: 겨울 | 등대 | 우체부 | 정류장 | 서랍 | 계단 | 정원 | +나침반

EVT: {city} 영화제 | {name} 마라톤 | {name} 바둑 대회 | {season} 별빛 축제 | {name}컵 | 제{num}회 {city} 박람회
| {name} 혁명 | {name} 전투

season: 봄 | 여름 | 가을 | 겨울

FLD: 천문학 | 물리학 | 언어학 | 해양 생물학 | 건축학 | 로봇 공학 | 경제학 | 심리학 | 식물학 | 추상 미술 | +고고학

ANM: 고양이 | 강아지 | 말 | 호랑이 | 흰꼬리 독수리 | 돌고래 | 두루미 | 다람쥐 | 꿀벌 | +수달 | +바다 거북

PLT: 장미 | 소나무 | 사과 | 밤 | 배 | 감 | 국화 | 은방울꽃 | 은행나무 | 흰 민들레 | 해바라기 | +쑥부쟁이

MAT: 구리 | 알루미늄 | 석회석 | 수소 | 산소 | 탄소 섬유 | 금 | 티타늄 | 산화 아연 | +니켈

TRM: 독감 | 빈혈 | 인공지능 | 딥 러닝 | 간 | 심장 | 폐렴 | 두통 | 블록체인 | 면역 체계 | 자율 주행 | +편도염

tail: . | . | . |  | ! | ... | ㅋㅋ

sentence: {PER/은} {DAT} {LOC}에서 {CVL/이} 되었다{tail} | {PER} {CVL/이} {DAT} {LOC/을} 찾았다{tail}
| {ORG/은} {DAT} {PER} {CVL/을} 새로 뽑았다고 밝혔다{tail}
| {PER} 씨는 {LOC}에서 {CVL_thing} {NUM/을} 샀다고 했다{tail} | {DAT} {TIM} {LOC}에서 {EVT/이} 열린다{tail}
| {EVT}에 {NUM_people/이} 모였다{tail} | {ORG/이} {EVT}에 {NUM_people/을} 보냈다{tail}
| {PER/은} {TIM}부터 {CVL_thing/을} 즐겼다{tail} | {LOC}의 {CVL} {PER/이} 감독한 '{AFW}' 개봉{tail}
| {PER}의 대표작 "{AFW}"의 원고가 {DAT} 공개됐다{tail} | {PER/과} {PER/은} {EVT}에서 처음 만났다{tail}
| {ORG/이} {ORG/을} 크게 이겼다{tail} | {LOC}에서 {LOC}까지 {NUM_people/이} 함께 걸었다{tail}
| {PER} 교수는 {FLD/을} 평생 연구했다{tail} | {FLD/과} {FLD/을} 함께 배우는 사람이 {NUM_people} 늘었다{tail}
| {ORG/은} {MAT/으로} 만든 부품을 {NUM} 팔았다{tail} | {MAT} 값이 {NUM_rate} 올랐다{tail}
| {DAT} {MAT} 가격 {NUM_rate} 하락 | {ANM/이} {LOC}에서 발견됐다{tail}
| {LOC}에 사는 {ANM} {NUM_animals/이} 사라졌다{tail} | {ANM/이} 초원을 힘차게 달렸다{tail}
| {PER/은} {PLT/을} {NUM_plants} 심었다{tail} | {LOC}의 {PLT/이} 올해도 잘 익었다{tail}
| {PLT} 나무 아래에서 {PER/을} 기다렸다{tail} | {TRM} 때문에 {ORG}에 {NUM_people/이} 입원했다{tail}
| {ORG/은} {TRM} 기술을 {DAT} 선보였다{tail} | {TRM/이} 나빠져서 걱정이다{tail}
| {PER/이} {CVL_thing/을} 좋아한다는 것은 다 안다{tail} | {CVL/이} 되고 싶다던 {PER/은} 지금 {LOC}에 산다{tail}
| {TIM}에 {PER/이} {LOC}행 열차를 탔다{tail} | {AFW/은} {DAT} {LOC}에서 처음 나왔다{tail}
| [속보] {ORG}, {NUM_rate} 투자 | "{PER}, {LOC} 온다"…{DAT} {TIM} 팬 모임 | {CVL} {PER}, {ORG} 떠난다{tail}
| {PER} 결혼식은 {DAT} {TIM}{tail} | {PLT} {NUM_plants/과} {ANM} {NUM_animals/을} 그린 {CVL/은} {PER/이다}{tail}
| {ORG} {CVL/은} "{DAT} {LOC/으로} 간다"고 말했다{tail} | {plain} | {plain}

plain: 말이 너무 많아서 무슨 뜻인지 몰랐다{tail} | 밤이 깊도록 이야기를 나눴다{tail}
| 배가 고파서 잠이 오지 않았다{tail} | 진심 어린 사과를 받고 싶다{tail} | 감이 좋지 않아 그만두었다{tail}
| 국물 간이 조금 짜다{tail} | 하늘이 유난히 맑다{tail} | 바람이 차가워서 외투를 입었다{tail}
| 보라 색 치마를 골랐다{tail} | 시장에 사람이 많아 정신이 없다{tail} | 벽에 금이 가서 고쳐야 한다{tail}
| 노을이 {deg} 아름다웠다{tail} | 슬기롭게 넘어가면 좋겠다{tail} | {deg} 좋은 하루였다{tail}
| 그런 말은 하지 마세요{tail} | 밤에는 조용히 해 주세요{tail} | 누리는 기쁨이 크다{tail}
| 이슬이 내린 길을 걸었다{tail} | {with} 봤는데 {pos_react}{tail} | {with} 봤는데 {neg_react}{tail}
| {deg} 재미있게 잘 봤습니다{tail} | 구름이 잔뜩 끼었다{tail}
""")


def rules_of(part: str) -> Rules:
    """The grammar of the train or the test file; entries that start with `+` are for the test file only."""
    own = {
        name: [entry.removeprefix("+") for entry in entries if part == "test" or not entry.startswith("+")]
        for name, entries in NER_RULES.items()
    }
    return RULES | own


def make_sentence(rng: random.Random, rules: Rules) -> tuple[Tagged, str]:
    """One sentence, and the same text with spaces around the entities, which the vocabulary is trained on.

    The slot {plain} is filled first, because patterns are processed word by word.
    """
    pattern = rng.choice(rules["sentence"])
    if pattern == "{plain}":
        pattern = rng.choice(rules["plain"])
    sentence: Tagged = []
    loose = []
    for word in pattern.split(" "):
        slots = [match[1] for match in SLOT.finditer(word) if match[1].split("_")[0] in TYPES]
        if len(slots) > 1:
            raise ValueError(f"two entities in one word: {word!r}")
        entities = {slot: render(f"{{{slot}}}", rng, None, rules) for slot in slots}
        text = render(word, rng, entities, rules)
        words = text.split(" ")
        labels = ["O"] * len(words)
        for slot, entity in entities.items():
            kind = slot.split("_")[0]
            labels = [f"{kind}-B"] + [f"{kind}-I"] * (len(words) - 1)
            text = text.replace(entity, f" {entity} ")
        loose.append(text)
        sentence += zip(words, labels, strict=True)
    return sentence, " ".join(loose)


def make_naver_ner(seed: int, rows: int | None) -> Sample:
    """naver-ner: words, labels. No sentence is in two files, and the last of each file has hundreds of words."""
    files: dict[str, bytes] = {}
    texts: list[str] = []
    taken: set[str] = set(PREDICT_SENTENCES)
    for part, count in (("test", TEST_ROWS), ("train", rows or 1500)):
        rng, rules = owned_rng(seed, f"naver-ner/{part}"), rules_of(part)
        lines = [f"{words}\t{labels}" for words, labels in AWKWARD[part]]
        long: Tagged = []
        while len(long) < LONG_WORDS:
            long += make_sentence(rng, rules)[0]
        while len(lines) < count - 1:
            sentence, loose = make_sentence(rng, rules)
            text = " ".join(word for word, _ in sentence)
            if text not in taken:
                taken.add(text)
                texts.append(loose)
                lines.append(f"{text}\t{' '.join(label for _, label in sentence)}")
        rng.shuffle(lines)
        lines.append("\t".join(" ".join(column) for column in zip(*long, strict=True)))
        files[f"naver-ner/{part}.tsv"] = "".join(line + "\n" for line in lines).encode()
    return Sample(files, texts + PREDICT_SENTENCES)
