"""The embedded procedural benchmark: pictures of coloured shapes with captions, questions and VCR items.

Everything here is a pure function of a split's name and an index, in integer arithmetic, so that every pixel and every
word is the same on every machine. ``write`` puts it on disk in the official layouts; ``cache`` does so once.
"""

from __future__ import annotations

from vlbench.data.scenes.caption_check import AttributeCount, Mention, caption_attributes, parse_caption
from vlbench.data.scenes.captions import captions
from vlbench.data.scenes.draw import SPLITS, VERSION, scene, split
from vlbench.data.scenes.graph import Region, Relationship, regions, relationships
from vlbench.data.scenes.questions import Question, questions
from vlbench.data.scenes.render import render
from vlbench.data.scenes.scene import SIDE, Background, Scene, SceneObject
from vlbench.data.scenes.vcr import VCRItem, vcr_items
from vlbench.data.scenes.words import COLORS, REGIONS, SHAPES, SIZES

__all__ = [
    "COLORS",
    "REGIONS",
    "SHAPES",
    "SIDE",
    "SIZES",
    "SPLITS",
    "VERSION",
    "AttributeCount",
    "Background",
    "Mention",
    "Question",
    "Region",
    "Relationship",
    "Scene",
    "SceneObject",
    "VCRItem",
    "caption_attributes",
    "captions",
    "parse_caption",
    "questions",
    "regions",
    "relationships",
    "render",
    "scene",
    "split",
    "vcr_items",
]
