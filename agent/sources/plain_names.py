"""The elements of feeds: what they are to us, and which ones feedparser does something for. Tables for `plain.py`."""

from __future__ import annotations

from collections.abc import Mapping

ATOM = "{http://www.w3.org/2005/Atom}"
_DC = "{http://purl.org/dc/elements/1.1/}"
_DCTERMS = "{http://purl.org/dc/terms/}"
_MEDIA = ("{http://search.yahoo.com/mrss/}", "{http://search.yahoo.com/mrss}")
_ITUNES = "{http://www.itunes.com/dtds/podcast-1.0.dtd}"
SY = "{http://purl.org/rss/1.0/modules/syndication/}"
XML = "{http://www.w3.org/XML/1998/namespace}"
# What an element of an entry is to us; "" is of no interest, and known to leave the rest alone.
ROLES: Mapping[str, str] = {
    **{prefix + name: role for prefix in ("", ATOM) for name, role in {
        "title": "title", "link": "link", "guid": "guid", "id": "guid",
        "description": "summary", "summary": "summary", "content": "content",
        "pubDate": "published", "published": "published", "updated": "updated",
        "author": "", "contributor": "", "category": "", "enclosure": "", "rights": "",
    }.items()},
    "source": "source",
    "{http://purl.org/rss/1.0/modules/content/}encoded": "content",
    f"{_DC}date": "updated", f"{_DCTERMS}issued": "published", f"{_DCTERMS}modified": "updated",
    "{http://rssnamespace.org/feedburner/ext/1.0}origLink": "origlink",
    **{_DC + name: "" for name in ("creator", "subject", "publisher", "rights", "language")},
    **{media + name: "" for media in _MEDIA for name in ("content", "thumbnail", "credit", "rating", "keywords")},
    **{media + "description": "summary" for media in _MEDIA},
    **{media + "title": "media_title" for media in _MEDIA},
    **{_ITUNES + name: "" for name in ("author", "subtitle", "image", "explicit", "keywords", "block")},
    f"{_ITUNES}summary": "summary",
}  # fmt: skip
# The children that an uninteresting element may have.
INSIDE: Mapping[str, frozenset[str]] = {
    **{prefix + name: frozenset(prefix + part for part in ("name", "uri", "email"))
       for prefix in ("", ATOM) for name in ("author", "contributor")},
    **{media + "content": frozenset(media + part for part in ("thumbnail", "credit", "rating", "keywords"))
       for media in _MEDIA},
    "image": frozenset(("url", "title", "link", "width", "height", "description")),  # of the channel
}  # fmt: skip
# The namespaces in which feedparser handles elements, by its prefix for them; it forgives the case.
NAMESPACES: Mapping[str, str] = {
    **dict.fromkeys((
        "http://www.w3.org/2005/atom", "http://purl.org/rss/1.0/", "http://blogs.law.harvard.edu/tech/rss",
        "http://my.netscape.com/rdf/simple/0.9/", "http://example.com/newformat#", "http://example.com/necho",
        "http://purl.org/echo/", "uri/of/echo/namespace#", "http://purl.org/pie/", "http://purl.org/atom/ns#",
        "http://purl.org/rss/1.0/modules/rss091#",
    ), ""),
    "http://purl.org/rss/1.0/modules/content/": "content", "http://rssnamespace.org/feedburner/ext/1.0": "feedburner",
    "http://purl.org/dc/elements/1.1/": "dc", "http://purl.org/dc/terms/": "dcterms",
    "http://search.yahoo.com/mrss/": "media", "http://search.yahoo.com/mrss": "media",
    "http://www.itunes.com/dtds/podcast-1.0.dtd": "itunes", "http://example.com/dtds/podcast-1.0.dtd": "itunes",
    "http://www.georss.org/georss": "georss", "http://www.opengis.net/gml": "gml", "http://webns.net/mvcb/": "admin",
    "http://creativecommons.org/ns#license": "cc", "http://web.resource.org/cc/": "cc",
    "http://cyber.law.harvard.edu/rss/creativecommonsrssmodule.html": "creativecommons",
    "http://backend.userland.com/creativecommonsrssmodule": "creativecommons",
    "http://podlove.org/simple-chapters": "psc", "http://www.w3.org/1999/xhtml": "xhtml",
}  # fmt: skip
# What it does something for, in these or in none; where `ROLES` has not got it, it is asked. Any other childless element it
# only keeps under its own name, which may not be one of those that `_item` of feed.py reads either.
_MEANT = """
    abstract author body category channel cloud content content_encoded contributor copyright created dc_author
    dc_contributor dc_creator dc_date dc_description dc_language dc_publisher dc_rights dc_subject dc_title dcterms_created
    dcterms_issued dcterms_modified dcterms_valid description email enclosure entry expirationdate feed
    feedburner_browserfriendly feedburner_origlink fullitem generator geom georss_box georss_line georss_point georss_polygon
    georss_where georssgeom gml_exterior gml_linearring gml_linestring gml_point gml_polygon gml_pos gml_poslist guid height
    homepage id image info issued item itunes_author itunes_block itunes_category itunes_email itunes_explicit itunes_image
    itunes_keywords itunes_link itunes_name itunes_owner itunes_subtitle itunes_summary keywords language lastbuilddate link
    managingeditor media_category media_content media_credit media_description media_group media_keywords media_license
    media_player media_rating media_restriction media_thumbnail media_title modified name newlocation psc_chapter psc_chapters
    pubdate published rights rss source subtitle summary tagline tags textinput title updated uri url webmaster where
    width xhtml_body admin_generatoragent admin_errorreportsto cc_license creativecommons_license
    date date_parsed issued_parsed items links modified_parsed published_parsed updated_parsed
"""
MEANT = frozenset(_MEANT.split())
# Prefixes that would make another namespace look like one of these.
TAKEN = frozenset(("", *NAMESPACES.values(), "sy", "date", "issued", "modified", "published", "updated"))
# Of the channel: what says how often it changes. Any other childless element there leaves the entries alone, but these.
PACE: Mapping[str, str] = {
    "ttl": "ttl",
    f"{SY}updatePeriod": "sy_updateperiod",
    f"{SY}updateFrequency": "sy_updatefrequency",
}
STATEFUL = frozenset((
    "item", "entry", "feed", "channel", "rss", "source", "textinput", "summary", "content", "encoded", "fullitem", "body",
    "ttl", "updateperiod", "updatefrequency",
))  # fmt: skip
