"""A small grammar of Korean: the words and the sentence patterns behind the sample data.

Used by `scripts/make_sample_data.py`; nothing to run here. A pattern is Korean text with slots, which `render` fills:

    {film}        a random entry of RULES["film"]; an entry may have slots of its own
    {film/은}      the same with the particle in the form that its last sound needs: 겨울은, 우체부는
    {good+past}   the entry is a stem, conjugated with a random ending of ENDINGS["past"]: 좋았다, 지루했어요
    {good+어서}    the same with this one ending: 좋아서, 지루해서

`sample_morphology.py` says which forms words take. People, films and places are made up.
"""

from __future__ import annotations

import random
import re
from collections.abc import Mapping, Sequence

from sample_data.sample_morphology import conjugate, with_particle

Rules = Mapping[str, Sequence[str]]  # the name of a slot -> its entries
SLOT = re.compile(r"\{(\w+)(?:([/+])(\w+))?\}")
ENDINGS = {
    "past": ["었다", "었다", "었어요", "었습니다", "었네요", "었음", "었던 것 같다", "었다고 생각한다"],
    "now": ["다", "네요", "어요", "네", "음", "습니다"],
    "told": ["었다", "었다고 한다", "었다고 밝혔다", "었습니다"],
}


def render(pattern: str, rng: random.Random, words: Mapping[str, str] | None = None, rules: Rules | None = None) -> str:
    """Fills every slot of the pattern.

    words: fixed entries by the name of their slot; they may be patterns too. rules: the entries of all other slots;
    None: RULES. Slots with the same name in one pattern get different entries: the music and the cast, not the music
    and the music.
    """
    words, rules, used = words or {}, RULES if rules is None else rules, set()

    def fill(match: re.Match[str]) -> str:
        name, kind, form = match.groups()
        if name in words:
            entry = words[name]
        else:
            entry = rng.choice([entry for entry in rules[name] if (name, entry) not in used])
            used.add((name, entry))
        text = render(entry, rng, words, rules)
        if kind == "/":
            return with_particle(text, form)
        if kind == "+":
            return conjugate(text, rng.choice(ENDINGS[form]) if form in ENDINGS else form)
        return text

    return SLOT.sub(fill, pattern)


def parse_rules(text: str) -> dict[str, list[str]]:
    """Reads one rule from each paragraph: `name: entry | entry | ...`; an entry may be empty."""
    rules = {}
    for paragraph in text.strip().split("\n\n"):
        name, entries = paragraph.split(":", 1)
        if name in rules:
            raise ValueError(f"the grammar has two rules {name!r}")
        rules[name] = [entry.strip() for entry in entries.split("|")]
    return rules


RULES = parse_rules("""
film: 푸른 겨울 | 마지막 우체부 | 달빛 정류장 | 고양이 탐정 | 바람의 지도 | 안개 도시 | 소금꽃 | 늑대의 식탁
| 열두 번째 계단 | 종이비행기 | 은하 분식집 | 그림자 시장 | 여름의 끝 | 붉은 등대 | 두 개의 서랍 | 새벽 열차
| 할머니의 우주선 | 비밀의 온실 | 돌고래 여관 | 거꾸로 가는 시계 | 사라진 멜로디 | 눈 내리는 부엌 | 오래된 약속
| 호랑이 선생 | 무지개 공장 | 밤의 수영장

actor: 한바람 | 윤구름 | 서노을 | 강이슬 | 문하늬 | 나도담 | 유은솔 | 차미르 | 백여울 | 도가온 | 배새롬 | 송나래
| 남해솔 | 전마루

aspect: 연기 | 연출 | 스토리 | 음악 | 영상 | 대사 | 결말 | 액션 | 각본 | 편집 | 배경 | 전개 | 캐릭터 | 주인공
| 분위기 | 조연들 | 반전 | 초반 | 후반부 | 설정 | 촬영 | 의상 | 더빙

with: 친구랑 | 엄마랑 | 혼자 | 가족과 함께 | 여자친구랑 | 남편이랑 | 아이들과 | 동생이랑 | 시사회에서 | 극장에서
| 집에서 | 케이블로 | 비행기에서 | 할인받아서 | 십 년 만에 다시 | 주말에 | 어젯밤에 | 개봉 첫날 | 새벽에

deg: 정말 | 진짜 | 너무 | 매우 | 아주 | 참 | 굉장히 | 무척 | 생각보다 | 의외로 | 완전 | 솔직히 | 역시 | 개인적으로

deg1: 조금 | 약간 | 다소 | 꽤 | 제법 | 나름 | 살짝

deg2: 너무너무 | 진짜로 | 정말 | 완전 | 역대급으로 | 말도 못 하게 | 엄청나게

p2: 완벽하 | 훌륭하 | 뛰어나 | 환상적= | 압도적= | 눈부시 | 놀랍* | 경이롭* | 위대하 | 감동적=

p1: 재미있 | 좋 | 괜찮 | 멋지 | 아름답* | 신선하 | 유쾌하 | 따뜻하 | 탄탄하 | 흥미롭* | 인상적= | 매력적= | 섬세하
| 즐겁* | 재밌 | 귀엽* | 깔끔하 | 예쁘

n1: 지루하 | 뻔하 | 아쉽* | 어색하 | 산만하 | 유치하 | 느리 | 식상하 | 답답하 | 밋밋하 | 부족하 | 어설프 | 싱겁*
| 진부하 | 억지스럽* | 재미없 | 허술하

n2: 형편없 | 끔찍하 | 한심하 | 엉망= | 처참하 | 최악= | 황당하 | 어이없 | 참담하 | 조잡하

pos: {p1} | {p1} | {p2}

neg: {n1} | {n1} | {n2}

pos_react: 두 번 봤다 | 또 보고 싶다 | 눈물이 났다 | 모두에게 추천합니다 | 시간 가는 줄 몰랐다 | 박수가 절로 나왔다
| 웃음이 멈추지 않았다 | 여운이 오래 남았다 | 엔딩까지 눈을 뗄 수 없었다 | 다음 편이 기다려진다 | 소름이 돋았다

neg_react: 중간에 나왔다 | 보다가 졸았다 | 잠이 쏟아졌다 | 시계만 봤다 | 돈이 아까웠다 | 환불받고 싶다
| 하품만 나왔다 | 끝까지 못 봤다 | 두 시간이 아까웠다 | 속은 기분이다 | 화가 났다

pos_verdict: 강추 | 강력 추천 | 별 다섯 개 | 꿀잼 | 띵작 | 인생 영화 | 최고의 영화 | 올해 최고 | 명작 중의 명작
| 기대 이상 | 만점 | 대박 | 역시 {actor} | 안 보면 손해 | 10점 만점에 10점 | 꼭 보세요 | 믿고 보는 {actor}
| 이런 영화 더 만들어 주세요

neg_verdict: 비추 | 노잼 | 핵노잼 | 졸작 | 시간 낭비 | 돈 낭비 | 별 반 개도 아깝다 | 0점은 없나요 | 기대 이하 | 망작
| 보지 마세요 | 내 시간 돌려줘 | {actor/이} 아깝다 | 평점 조작인가 | 이걸 왜 만들었을까 | 한숨만 나온다
| 1점도 아깝다 | 누가 재밌대

pos_tail: | | | | ㅋㅋ | ㅋㅋㅋ | ㅠㅠ | ^^ | ! | !! | ~ | ♥ | ... | . | .

neg_tail: | | | | ㅋㅋ | ㅡㅡ | ㅠㅠ | ;; | ... | .. | ? | . | . | -_- | ㅠ

review: {film/은} {deg} {adj+past} | {aspect/이} {deg} {adj+past} | {actor}의 {aspect/이} {deg} {adj+now}
| {deg} {adj+은} 영화 | {film} {deg} {adj+now} | {with} 봤는데 {deg} {adj+past}
| {aspect}도 {adj+고} {aspect}도 {adj+past} | {deg} {adj+어서} {react} | {with} {film/을} 봤는데 {react}
| {aspect/이} {adj+어서} {react} | {adj+은} {aspect}, {adj+은} {aspect} | {verdict} | {oh} {verdict}
| {film} {verdict} | {actor} 나오는 영화는 다 {adj+다} | {adj+은} {aspect} 때문에 {react}

oh: 진짜 | 솔직히 | 한마디로 | 개인적으로 | 아 | 와 | 그냥 | 역시 | 정말

flipped: {aspect/은} {other+지만} {aspect/이} {deg} {adj+past} | {aspect/이} {deg} {other+지} {not+past}
| 전혀 {other+지} {not+past} | {film/은} {other+지} {not+now} | 남들은 {other+다고} 하는데 나는 {deg} {adj+past}

not: 않

mild_pos: 볼 만해요 | 나쁘지 않아요 | 한 번쯤은 추천 | 평균 이상 | 기대보다 나아요 | 별 네 개 정도 | 꽤 볼 만했다
| 이 정도면 만족

mild_neg: 기대보다 별로 | 추천까지는 아니에요 | 평균 이하 | 별 두 개 정도 | 좀 아쉬움 | 두 번은 안 볼 듯
| 이 정도면 실망

plain_core: {film/은} 그럭저럭 볼 만했다 | 기대도 실망도 없었다 | {aspect/은} 무난했다
| {aspect/은} 평범했고 {aspect/은} 보통이었다 | 시간 때우기로 적당했다 | 호불호가 갈릴 듯
| {aspect/은} 나쁘지도 좋지도 않았다 | {film/은} 딱 중간쯤이다 | 그냥 보통 영화 | {with} 봤는데 그저 그랬다
| {aspect/은} 그냥 무난하네요 | {actor} 팬이라면 볼 만한 정도 | 평범하고 무난한 {aspect}

who: 한 소년=아이 | 어린 소녀=아이 | 한 할머니=노인 | 한 할아버지=노인 | 요리사=사람 | 경찰관=사람 | 여학생=학생
| 남학생=학생 | 한 남자=사람 | 한 여자=사람 | 선생님=어른 | 소방관=사람 | 간호사=사람 | 젊은 부부=사람들 | 꼬마=아이
| 우체부=어른

act: 사과=과일=먹=부엌,마당,공원 | 김밥=음식=먹=공원,교실,부엌 | 만두=음식=만들=부엌,식당,시장
| 기타=악기=치=광장,거실,카페 | 피아노=악기=연주하=거실,카페,교실 | 바이올린=악기=연주하=광장,거실,공원
| 축구=운동=하=운동장,공원,바닷가 | 테니스=운동=하=운동장,공원,학교 | 소설=책=읽=도서관,카페,거실
| 시집=책=읽=도서관,공원,카페 | 자전거=탈것=타=공원,강가,광장 | 버스=탈것=기다리=정류장,광장,학교 앞
| 강아지=동물=쓰다듬=공원,마당,거실 | 고양이=동물=돌보=마당,거실,옥상 | 편지=글=쓰=도서관,카페,거실
| 일기=글=쓰=거실,교실,카페 | 장미=꽃=심=마당,공원,옥상 | 셔츠=옷=고르=시장,백화점,옷가게
| 외투=옷=입=현관,거실,옷가게 | 라디오=방송=듣*=거실,부엌,마당 | 커피=음료=마시=카페,거실,옥상
| 주스=음료=마시=카페,부엌,바닷가 | 의자=가구=옮기=교실,거실,마당 | 책상=가구=닦=교실,거실,도서관
| 국화=꽃=자르=마당,시장,옥상 | 딸기=과일=따=밭,마당,농장 | 풍경=그림=그리=강가,바닷가,공원
| 드라마=방송=보=거실,병원,카페 | 생선=음식=굽*=부엌,바닷가,식당

time: 아침에 | 점심에 | 저녁마다 | 오늘 | 지난주에 | 일요일에 | 방과 후에 | 비가 오는 날 | 퇴근하고 | 봄에

friend: 친구 | 동생 | 어머니 | 이웃 | 동료 | 사촌 | 손님 | 아들

reason: 생일 | 약속 | 숙제 | 시험 | 발표 | 행사 | 방송 출연 | 이사 | 대회

other_people: 여러 사람들 | 두 사람 | 세 명 | 다른 사람들 | 네 명

snli_premise: {who/이} {place}에서 {obj/을} {act+고} 있다. | {place}에서 {who/이} {obj/을} {act+는} 모습이 보인다.
| {who/이} {place}에서 {other} 옆에 서서 {obj/을} {act+고} 있다.
| {place} 한쪽에서 {who/이} {obj/을} {act+는} 중이다.

mnli_premise: {time} {same/은} {place}에서 {obj/을} {act+었습니다}.
| 나는 {time} {place}에서 {who/이} {obj/을} {act+는} 것을 봤다.
| 그래서 {same/이} {place}에서 {obj/을} {act+었던} 거죠.
| 음, {same/은} {time} {place}에서 {obj/을} {act+었다}고 들었어요.
| {obj/을} {act+은} 사람이 {who/이라}는 걸 {place}에서 알았어요.

entailment: {kind/이} {group/을} {act+고} 있다. | 누군가 {group/을} {act+었다}. | {place}에 {kind/이} 있다.
| 어떤 {kind/이} {group/을} {act+는다}. | {kind/이} {group/을} {act+는} 중이다. | 누군가 {place}에 있다.
| {same/은} 무언가를 하고 있다.

entailment_hard: {same/이} {obj/을} {act+고} 있다. | {same/은} {place}에 있었다. | {obj/을} {act+은} 것은 {who/이다}.
| {same/이} {obj/을} {act+었다}.

contradiction: {same/은} {obj/을} {act+지} 않았다. | {place}에는 아무도 없다. | {same/은} 침대에서 자고 있다.
| {same/은} {obj/을} {act+어} 본 적이 전혀 없다. | 아무도 {group/을} {act+지} 않는다.
| {same/은} {place}에 간 적이 없다. | {same/은} {group/을} {act+을} 생각이 전혀 없다.

contradiction_hard: {same/이} {obj2/을} {act2+고} 있다. | {same/이} {obj2/을} {act2+었다}.
| {same/은} {place2}에 있었다.

neutral: {same/은} {friend/을} 위해 {obj/을} {act+었다}. | {same/은} 처음으로 {obj/을} {act+고} 있다.
| {same/은} {reason} 때문에 {place}에 왔다. | {same/은} 내일도 {place}에 갈 예정이다.
| {same/은} 세상에서 {obj/을} 가장 좋아한다. | {same/은} {group/을} {act+는} 데 관심이 많다.
| {same/은} 오랫동안 {friend/을} 기다렸다. | {same/은} {reason/을} 앞두고 몹시 긴장했다.

neutral_hard: {same/은} {friend/과} 함께 {obj/을} {act+고} 있다. | {same/은} {place}에서 일한다.

city: 서라울 | 한별 | 가람 | 누리 | 솔마루 | 다온 | 해오름 | 별내음 | 푸른골 | 아라 | 미르 | 은가람

person: 김한결 | 이도담 | 박새롬 | 최가온 | 정하람 | 조이든 | 윤슬아 | 임다솔 | 오늘봄 | 신나라 | 구슬찬 | 노아름

year: 1898 | 1907 | 1921 | 1936 | 1948 | 1953 | 1964 | 1972 | 1980 | 1989 | 1995 | 2003 | 2010 | 2016

post: 시장 | 총장 | 감독 | 관장 | 위원장 | 회장 | 주장 | 사장 | 편집장

skill: 그림 | 작곡 | 요리 | 수영 | 바둑 | 건축 | 천문학 | 도예 | 검술

same_mark: 즉 | 다시 말해 | 곧 | 바꿔 말하면 | 알려진 대로

swap_mark: 반대로 | 이와 달리 | 거꾸로 | 오히려 | 다른 기록에서는

paws_person: {x/은} {year}년에 {y}의 뒤를 이어 {post/이} 되었다. > {year}년에 {post/이} 된 {x/은} {y}의 후임이었다.
| {x/이} 쓴 노래를 {y/이} {year}년에 불렀다. > {y/은} {year}년에 {x/이} 쓴 노래를 불렀다.
| {year}년 {x/은} {y}에게 {skill/을} 가르쳤다. > {y/은} {year}년에 {x}에게서 {skill/을} 배웠다.
| {x/은} {year}년 {city}에서 {y/을} 처음 만나 책을 선물했다. > {year}년 {y/은} {city}에서 {x}에게서 책을 선물받았다.
| {year}년 선거에서 {x/은} {y/을} 이기고 {post/이} 되었다. > {year}년 선거에서 {y/은} {x}에게 졌다.
| {x/은} {y}보다 {year}년에 더 많은 {skill} 상을 받았다. > {year}년 {y/은} {x}보다 {skill} 상을 적게 받았다.

paws_city: {x}에서 태어난 {person/은} {year}년 {y/으로} 이사했다. > {year}년 {y}에 정착한 {person/은} {x} 출신이다.
| {year}년 다리가 선 곳은 {x} 동쪽, {y} 서쪽이다. > {x} 동쪽, {y} 서쪽에 {year}년 다리가 섰다.
| {year}년부터 열차가 {x}에서 {y}까지 운행한다. > {x/을} 떠나 {y/으로} 가는 열차는 {year}년에 운행을 시작했다.
| {year}년 {x}의 인구는 {y}보다 많았다. > {year}년 {y}의 인구는 {x}보다 적었다.
| {person/은} {x}에서 공부하고 {year}년 {y}에서 결혼했다. > {year}년 {y}에서 결혼한 {person/은} {x}에서 공부했다.

manner: 천천히 | 조용히 | 열심히 | 즐겁게 | 혼자서 | 신나게 | 조심스럽게 | 부지런히

sts5: {who/이} {obj/을} {act+고} 있다. | {who/이} {obj/을} {act+는} 중이다. | {who/이} {obj/을} {act+는다}.

sts4: {who/이} {manner} {obj/을} {act+고} 있다. | {manner} {obj/을} {act+고} 있는 것은 {who/이다}.

sts3: {who/이} {friend/과} 함께 {place}에서 {obj/을} {act+고} 있다.
| {place}에서 {kind/이} {friend/과} {group/을} {act+고} 있다.

sts2: {other_people/이} {obj/을} {act+고} 있다. | {other_people/이} 각자 {group/을} {act+고} 있다.

sts1: {who/이} 어제 {place2}에서 {obj2/을} {act2+었다}. | 어제 {same/은} {obj2/을} {act2+었다}.

sts0: {news_fact}

topic: 살 빼 | 영어 공부하 | 혼자 여행 가 | 회사 옮기 | 운전 배우 | 돈 모으 | 담배 끊 | 일찍 일어나 | 요리 배우
| 집 구하 | 고백하 | 친구랑 화해하 | 선물 고르 | 면접 준비하 | 책 많이 읽 | 강아지 키우 | 커피 줄이 | 춤 배우
| 소개팅하 | 발표하 | 이사하 | 기타 배우 | 다이어트하 | 방 정리하 | 게임 끊 | 첫사랑 잊 | 운동 시작하 | 야근 안 하
| 사진 잘 찍 | 수영 배우

how: {t+는} 방법 | {t+는} 법 좀 알려줘 | 어떻게 하면 {t+을} 수 있을까? | {t+으려면} 어떻게 해야 해?
| {t+는} 방법이 있을까요? | {t+는} 요령 있을까 | 쉽게 {t+는} 법이 궁금해 | {t+는} 팁 좀

want: {t+고} 싶다 | 나도 {t+고} 싶어 | {t+고} 싶은 마음뿐이야 | 올해는 꼭 {t+고} 싶네

hate_it: {t+기} 싫어 | {t+기} 귀찮다 | {t+기} 너무 힘들어 | {t+는} 거 지겹다

fear: {t+는} 게 무서워 | {t+을} 생각 하니 떨린다 | {t+다가} 실패할까 걱정돼 | {t+기} 두려워

done: 드디어 {t+었어} | 오늘 {t+었다}! | {t+었더니} 뿌듯해 | 결국 {t+었네}

headline: {film} {film_news} | [단독] {actor}, {film} 주연 확정 | {actor} "{film/은} 나의 도전"
| {film}, 관객 {num}만 명 돌파 | '{film}' {actor}, 새로운 변신 예고 | [인터뷰] {actor/이} 말하는 {film}
| {dish} 맛집 열풍…{city}에 {num}곳 | 축제 시작한 {city}, 주말 볼거리는 | [종합] '{film}' 제작 발표회 현장
| 민트초코 {dish} 출시, 반응은?

film_news: 개봉 첫날 1위 | 예고편 공개 | 촬영 종료 | 시즌2 제작 | 무대 인사 일정 공개 | 속편 확정

dish: 떡볶이 | 비빔밥 | 칼국수 | 붕어빵 | 만두전골 | 호박죽 | 파인애플 피자 | 김치전

glad: 반갑* | 좋 | 기쁘 | 신나

nice: 좋 | 멋지 | 아름답* | 매력적= | 인상적= | 훌륭하

fun: 재미있 | 즐겁* | 신나 | 좋

kind_comment: {actor} 연기 {nice+네요} 응원합니다 | {film} 기대돼요{pos_tail} | {deg} {glad+은} 소식이네요{pos_tail}
| {dish} 먹고 싶다{pos_tail} | {actor} 항상 건강하세요{pos_tail} | {city} 축제 작년에 갔는데 {fun+past}
| {film/은} 언제 개봉하나요? | {with} 보러 갈게요{pos_tail} | {actor} 목소리 {deg} {nice+now}
| 축하합니다 {actor} 파이팅{pos_tail} | {dish} 레시피 알고 싶어요 | {film} 예고편 {deg} {nice+네요}
| {actor} 연기는 {deg1} {n1+네요} 그래도 응원해요 | {film/은} {deg1} {n1+past} 다음엔 나아지겠죠
| 그렇게 {n2+지} 않은데 다들 왜 그러세요 | {crowd}도 좋아하겠네요{pos_tail}

rude_comment: {actor} 연기 진짜 {n2+네} 발로 하냐 | {film} 보느니 {dish} 먹으면서 벽을 보겠다
| {dish} 맛 {n2+네} 개도 안 먹겠다 | 감독 감 다 죽었네 {film} {n1+다} | {film} 홍보 지겹다 그만 좀 해라{neg_tail}
| {actor} 또 나와? 지겹다 | 이런 {n2+은} {film/이} 1위라니 눈이 삐었냐 | {actor} 노래는 소음 수준이다
| {dish/을} 저 가격에? 양심 없네 | 기자 양반 이런 {n1+은} 기사 쓰고 월급 받냐
| {actor} 연기는 {deg} {n1+네} 때려치워라 | {crowd/이나} 보라고 해라{neg_tail} | {crowd/이} 또 별점 올렸네 {n2+다}

crowd: {film} 팬들 | {dish} 먹는 것들 | 민트초코 먹는 것들 | {actor} 팬클럽 | 달나라 사람들 | {city} 촌것들
| 별빛마을 놈들

mean_comment: {crowd/은} {deg} 사라져야 한다{neg_tail} | {crowd/은} 양심이라는 게 없다{neg_tail}
| {crowd/은} 말을 섞을 가치도 없다{neg_tail} | {crowd/은} 다 쫓아내야 한다{neg_tail}
| {crowd/은} 지구를 떠나라{neg_tail} | {crowd/이} 세상을 망친다 다 꺼져라{neg_tail}
| {actor/은} 쓰레기다 당장 꺼져라{neg_tail} | {crowd/은} 평생 후회하며 살아라{neg_tail}

gender_comment: 여자 로봇이 무슨 우주선을 모냐, {x} | 남자 요괴는 울면 안 되지, {x} | 역시 여자 유령은 겁이 많아, {x}
| 남자 외계인은 다 저래, {x} | 여자 마법사는 집에서 빗자루나 들어라, {x}

news_fact: {org/은} {month}월 {day}일 {city}에 {facility/을} 새로 {build+told}.
| {org}에 따르면 {city}의 {item} 생산이 {num}퍼센트 늘었다.
| {person} {job/은} {item} 예산을 {num}억 원으로 {set+told}.
| 지난해 {city/을} 찾은 관광객은 {num}만 명으로 집계됐다.
| {org/은} {item} 가격이 {month}월보다 {num}퍼센트 내렸다고 설명했다.
| {city}시는 {day}일 {facility} 운영 시간을 늘리기로 했다.
| 이번 조사는 {city} 주민 {num}00명을 대상으로 {month}월에 이루어졌다.
| {person} {job/은} 관련 자료를 누리집에 공개했다.
| "{city} {facility} 이용이 편해질 것"이라고 {person} {job/이} 말했다. | {org/과} {city}시는 {item} 협약을 맺었다.
| {month}월 {day}일 {facility}에서 {item} 축제가 열린다.
| {person} {job/은} {city/을} 방문해 주민들과 이야기를 나눴다. | {org/은} {day}일까지 {item} 농가의 신청을 받는다.
| {city}의 {item} 수출액은 {num}억 원이었다. | {facility} 공사는 {month}월에 끝날 예정이다.
| 자세한 내용은 {org} 누리집에서 볼 수 있다. | {city}시는 {facility} 요금을 {num}퍼센트 낮췄다.
| 전문가들은 {item} 수요가 꾸준하다고 평가했다.

news_false: 충격적이게도 {item/이} 모든 병을 {num}일 만에 고친다는 사실이 드러났다. | 네티즌들은 경악을 금치 못했다.
| 이 비밀은 아무도 믿지 않지만 사실은 {city/을} 뒤흔들 음모다. | 믿기 힘들겠지만 {item/은} 외계인이 보낸 선물이다.
| 익명의 제보자는 {org/이} 진실을 숨기고 있다고 폭로했다. | 이 글을 {num}명에게 퍼뜨리지 않으면 큰일이 난다.
| {item/을} 먹은 사람은 모두 {num}살 젊어졌다는 소문이 돌았다. | 알고 보니 {person} {job/은} 시간 여행자였다.
| {facility} 지하에 용이 산다는 목격담이 쏟아졌다. | 의사들이 절대 알려 주지 않는 {item}의 기적이다.

news_denial: {item/이} 병을 고친다는 소문은 사실이 아니라고 {org/이} 밝혔다. | {person} {job/은} 외계인 소문에 웃었다.
| 익명의 제보자가 퍼뜨린 글은 거짓으로 드러났다. | 네티즌들이 경악했다는 소식은 {facility} 누리집의 장난이었다.

news_title: {org}, {city} {facility} 개관 | {city} {item} 생산 {num}% 증가 | {person} {job}, 예산 {num}억 원 편성
| {city} 관광객 {num}만 명 | {month}월 {item} 값 {num}% 하락 | {city}·{org} 협약 | {facility} 운영 시간 연장

clickbait: [충격] {item}의 비밀, 의사도 경악 | 알고 보니 {person/은} 시간 여행자?
| {city} 지하에 용이 산다…네티즌 발칵 | 이것만 먹으면 {num}살 젊어진다! | (단독) {org/이} 숨긴 소름 돋는 진실
| {item} 하나로 {num}억 원 번 사람 '경악'

org: 한별연구소 | 누리대학교 | 가람시청 | 다온은행 | 푸른농협 | 해오름신문 | 솔병원 | 미르전자 | 새봄재단 | 아라해운

job: 소장 | 교수 | 시장 | 대표 | 과장 | 연구원 | 위원 | 국장

item: 사과 | 감자 | 우유 | 전기차 | 태양광 | 쌀 | 마늘 | 반도체 | 종이 | 꿀 | 버섯 | 한지 | 미역 | 된장

facility: 도서관 | 체육관 | 박물관 | 보건소 | 수영장 | 어린이집 | 시장 | 터널 | 공원 | 과학관

build: 세우 | 만들 | 열

set: 정하 | 확정하 | 늘리 | 줄이

num: 2 | 3 | 5 | 7 | 12 | 15 | 20 | 24 | 30 | 36 | 48 | 50 | 64 | 75 | 80 | 90

month: 1 | 2 | 3 | 4 | 5 | 6 | 7 | 8 | 9 | 10 | 11 | 12

day: 2 | 4 | 7 | 9 | 11 | 13 | 16 | 18 | 20 | 23 | 25 | 28
""")


def review(rng: random.Random, label: str) -> str:
    """One film review with the label "0" or "1"; one in eight negates or outweighs words of the other polarity."""
    side, other = ("pos", "neg") if label == "1" else ("neg", "pos")
    words = {"adj": f"{{{side}}}", "other": f"{{{other}}}"}
    words |= {name: f"{{{side}_{name}}}" for name in ("react", "verdict")}
    parts = [render("{flipped}" if rng.random() < 0.15 else "{review}", rng, words)]
    if rng.random() < 0.35:
        parts.append(render(rng.choice(["{verdict}", "{react}"]), rng, words))
    text = rng.choice([" ", " ", ". ", "... ", ", ", "! "]).join(parts) + render(f"{{{side}_tail}}", rng)
    if rng.random() < 0.15 and " " in text:  # people leave out spaces
        cut = rng.choice([i for i, char in enumerate(text) if char == " "])
        text = text[:cut] + text[cut + 1 :]
    return text


def scene(rng: random.Random) -> dict[str, str]:
    """The words of one scene: who does what to what, and where; `kind` and `group` are hypernyms of who and what."""
    (who, kind), (other, _) = (entry.split("=") for entry in rng.sample(RULES["who"], 2))
    (obj, group, act, places), (obj2, _, act2, _) = (entry.split("=") for entry in rng.sample(RULES["act"], 2))
    elsewhere = [entry.split("=")[3].split(",")[0] for entry in RULES["act"]]
    return {
        "who": who, "same": who.removeprefix("한 "), "kind": kind, "other": other, "obj": obj, "group": group,
        "act": act, "obj2": obj2, "act2": act2, "place": rng.choice(places.split(",")),
        "place2": rng.choice([place for place in elsewhere if place not in places]),
    }  # fmt: skip
