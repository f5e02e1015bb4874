"""Captions that change from draw to draw: shuffled, thinned out, called up by several words; all known beforehand."""

from __future__ import annotations

import random
from collections import Counter

import pytest

from slipstream.core.errors import DataError
from slipstream.data.caption_rules import CaptionRule, caption_version, join_tokens, split_tokens
from slipstream.data.dataset import build_dataset
from slipstream.data.fingerprint import dataset_fingerprint
from slipstream.data.sampler import BucketSampler
from slipstream.data.settings import DatasetSettings

TAGS = "fox, snow, night, moon, tree, river, cloud, star"


def random_captions(count):
    """Captions of 0 to 9 tokens, with commas and spaces where nobody expects them."""
    dice = random.Random(5)
    words = ["fox", "snowy night", "zfox", "[trigger]", "a zfoxes den", "tree", "tree", "big zfox here", "", "x:y;z"]
    for _ in range(count):
        yield dice.choice((",", ", ", " ,")).join(dice.choices(words, k=dice.randrange(10)))


def versions_of(caption, rule, count=50, words=("zfox",)):
    return [caption_version(caption, rule, "picture", version, words) for version in range(count)]


@pytest.mark.parametrize(
    ("caption", "separator", "tokens"),
    [
        ("a, b,c", ",", ["a", "b", "c"]),
        (" a ,, b , ", ", ", ["a", "b"]),
        ("a;b, c", ";", ["a", "b, c"]),
        ("a | b", " | ", ["a", "b"]),
        ("one", ",", ["one"]),
        ("", ",", []),
    ],
)
def test_tokens_are_what_stands_between_separators(caption, separator, tokens):
    assert split_tokens(caption, separator) == tokens
    assert split_tokens(join_tokens(tokens, separator), separator) == tokens


@pytest.mark.parametrize("caption", [" a ,b", TAGS, ""])
def test_without_a_rule_captions_stay_as_they_are(caption):
    assert versions_of(caption, CaptionRule(separator="|", versions=9), 3) == [caption] * 3


def test_shuffling_keeps_every_token_and_the_front():
    for keep in (0, 1, 3):
        rule = CaptionRule(shuffle=True, keep_tokens=keep)
        for caption in random_captions(60):
            tokens = split_tokens(caption, ",")
            for version in versions_of(caption, rule, 5):
                shuffled = split_tokens(version, ",")
                assert Counter(shuffled) == Counter(tokens)
                assert shuffled[:keep] == tokens[:keep]


def test_shuffling_brings_every_token_everywhere():
    places = [split_tokens(version, ",").index("fox") for version in versions_of(TAGS, CaptionRule(shuffle=True), 4000)]
    # 4000 draws over 8 places: 500 each, standard deviation 21
    assert all(count == pytest.approx(500, abs=90) for count in Counter(places).values())
    assert len(set(places)) == 8


@pytest.mark.parametrize("share", [0.1, 0.5])
def test_tokens_are_left_out_as_often_as_asked(share):
    rule = CaptionRule(token_dropout=share, keep_tokens=2)
    left = [split_tokens(version, ",") for version in versions_of(TAGS, rule, 3000)]
    assert all(tokens[:2] == ["fox", "snow"] for tokens in left)
    for token in ("night", "star"):
        # standard deviation at most 0.009
        assert sum(token in tokens for tokens in left) / 3000 == pytest.approx(1 - share, abs=0.04)
    both = sum("night" in tokens and "star" in tokens for tokens in left) / 3000
    assert both == pytest.approx((1 - share) ** 2, abs=0.04)
    order = split_tokens(TAGS, ",")
    assert all(tokens == [token for token in order if token in tokens] for tokens in left)


def test_the_trigger_word_is_never_left_out():
    rule = CaptionRule(token_dropout=0.95, shuffle=True)
    for caption in random_captions(60):
        kept = [token for token in split_tokens(caption, ",") if token in ("zfox", "[trigger]", "big zfox here")]
        for version in versions_of(caption, rule, 5):
            assert not Counter(kept) - Counter(split_tokens(version, ","))
    assert "" in versions_of("zfoxes, snow", rule)


def test_a_version_depends_on_seed_picture_and_number_alone():
    rule = CaptionRule(shuffle=True, token_dropout=0.2)
    assert versions_of(TAGS, rule) == versions_of(TAGS, rule)
    others = [
        versions_of(TAGS, CaptionRule(shuffle=True, token_dropout=0.2, seed=1)),
        [caption_version(TAGS, rule, "another picture", version, ()) for version in range(50)],
    ]
    assert versions_of(TAGS, rule) not in others
    assert len(set(versions_of(TAGS, rule))) > 40


def settings(folder, rule, **changes):
    return DatasetSettings(
        folder,
        **{"resolutions": (64, 128), "caption_dropout": 0.2, "trigger_word": "zfox", "caption_rule": rule, **changes},
    )


@pytest.fixture
def pictures(folder, make):
    make("a.png", 128, 128, caption=TAGS)
    make("b.png", 128, 96, caption="[trigger] in snow, night, moon")
    make("c.png", 64, 64, caption="moon, a Zfox, night")
    make("d.png", 64, 64)
    return folder


RULES = {
    "plain": CaptionRule(),
    "shuffled": CaptionRule(shuffle=True, keep_tokens=1, versions=3),
    "thinned": CaptionRule(token_dropout=0.5, versions=4),
    "several words": CaptionRule(random_triggers=("sks", "ohwx")),
    "everything": CaptionRule(True, 0.3, 1, ",", 5, ("sks", "ohwx", "zfox"), seed=3),
}


def drawn(dataset, epochs=2, batch_size=2):
    """Every caption that the sampler's draws meet."""
    sampler = BucketSampler(dataset, batch_size, seed=9)
    for step in range(epochs * sampler.batches_per_epoch):
        for draw in sampler.draw(step):
            yield dataset.examples[draw.example_index].caption_at(draw.caption_variant, draw.dropped)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"class_word": "animal"},
        {"preserves_blank": True, "trigger_word": ""},
        {"class_word": "animal", "trigger_only": True},
    ],
)
@pytest.mark.parametrize("name", RULES)
def test_every_caption_that_is_met_is_known_and_every_known_one_is_met(pictures, name, changes):
    dataset = build_dataset([settings(pictures, RULES[name], **changes)])
    met = {text for caption in drawn(dataset, 400) for text in (caption.text, caption.preserved) if text is not None}
    assert {caption.text for caption in drawn(dataset, 2)} <= met
    assert met == set(dataset.captions())


@pytest.mark.parametrize("name", RULES)
def test_trigger_only_leaves_nothing_but_the_words(pictures, name):
    dataset = build_dataset([settings(pictures, RULES[name], trigger_only=True)])
    assert {caption.text for caption in drawn(dataset, 9)} == set(RULES[name].random_triggers or ("zfox",))
    hold = build_dataset([settings(pictures, CaptionRule(), trigger_only=True, regularization="prior")])
    assert {caption.text for caption in drawn(hold, 9)} == {""}


@pytest.mark.parametrize("name", RULES)
def test_every_caption_has_its_trigger_word_and_no_other(pictures, name):
    words = RULES[name].random_triggers or ("zfox",)
    dataset = build_dataset([settings(pictures, RULES[name])])
    for caption in drawn(dataset, 20):
        assert sum(word in caption.text.lower().replace(",", "").split() for word in words) == 1
        assert "[trigger]" not in caption.text


def test_a_trigger_word_put_in_front_stays_in_front(pictures):
    rule = CaptionRule(shuffle=True, token_dropout=0.5, versions=20)
    dataset = build_dataset([settings(pictures, rule, caption_dropout=0.0)])
    assert all(variant.text.split(",")[0] == "zfox" for variant in dataset.examples[0].captions)
    assert len({variant.text for variant in dataset.examples[0].captions}) > 10


def test_all_resolutions_of_a_picture_share_its_captions(pictures):
    dataset = build_dataset([settings(pictures, RULES["everything"])])
    small, large = dataset.examples[:2]
    assert small.image == large.image
    assert small.captions == large.captions


def test_words_are_drawn_alike_and_take_the_triggers_place(pictures):
    rule = CaptionRule(random_triggers=("sks", "ohwx"))
    dataset = build_dataset([settings(pictures, rule, caption_dropout=0.0, class_word="animal")])
    captions = {example.image.path.stem: example.captions for example in dataset.examples}
    of_b, of_c, of_d = (captions[stem] for stem in "bcd")
    assert [variant.text for variant in of_b] == ["sks in snow, night, moon", "ohwx in snow, night, moon"]
    assert [variant.text for variant in of_c] == ["moon, a sks, night", "moon, a ohwx, night"]
    assert [variant.text for variant in of_d] == ["sks", "ohwx"]
    assert {variant.preserved for variant in of_b} == {"animal in snow, night, moon"}
    words = Counter(caption.text.count("sks") for caption in drawn(dataset, 200))
    assert words[0] / words.total() == pytest.approx(0.5, abs=0.06)


def test_varied_captions_leave_order_flips_and_drops_as_they_were(pictures):
    plain, varied = (
        BucketSampler(build_dataset([settings(pictures, RULES[name], flip_horizontal=True)]), 2, seed=1)
        for name in ("plain", "everything")
    )
    for step in range(50):
        rows = zip(plain.draw(step), varied.draw(step), strict=True)
        assert all((a.example_index, a.flipped, a.dropped) == (b.example_index, b.flipped, b.dropped) for a, b in rows)


def test_draws_of_versions_do_not_depend_on_where_one_starts(pictures):
    dataset = build_dataset([settings(pictures, RULES["everything"])])
    walked = BucketSampler(dataset, 2, seed=4)
    walk = [walked.draw(step) for step in range(40)]
    for step in (39, 3, 17, 0):
        assert BucketSampler(dataset, 2, seed=4).draw(step) == walk[step]


def test_the_fingerprint_knows_how_captions_vary(pictures):
    seen = {name: dataset_fingerprint(build_dataset([settings(pictures, rule)])) for name, rule in RULES.items()}
    assert len(set(seen.values())) == len(seen)


def test_captions_without_a_separator_are_mentioned(folder, make):
    make("a.png", caption="a fox in snow")
    warnings = build_dataset([settings(folder, RULES["shuffled"])]).warnings
    assert [line for line in warnings if "no caption holds ','" in line]
    make("b.png", caption="fox, snow")
    assert not [line for line in build_dataset([settings(folder, RULES["shuffled"])]).warnings if "','" in line]


@pytest.mark.parametrize(
    ("rule", "changes", "message"),
    [
        (CaptionRule(token_dropout=1.0), {}, "token_dropout is 1.0"),
        (CaptionRule(keep_tokens=2), {}, "keep_tokens is 2"),
        (CaptionRule(shuffle=True, keep_tokens=-1), {}, "keep_tokens is -1"),
        (CaptionRule(shuffle=True, separator="  "), {}, "separator"),
        (CaptionRule(shuffle=True, versions=1), {}, "2 to 64 versions"),
        (CaptionRule(shuffle=True, versions=65), {}, "2 to 64 versions"),
        (CaptionRule(random_triggers=("a",)), {"regularization": "prior"}, "random triggers"),
    ],
)
def test_nonsense_is_refused(tmp_path, rule, changes, message):
    with pytest.raises(DataError) as caught:
        settings(tmp_path, rule, **changes)
    assert message in str(caught.value)
