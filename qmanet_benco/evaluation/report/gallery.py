"""The HTML report: one file without links to anything else, with tables, curves and a gallery that can be sorted."""

from __future__ import annotations

import base64
import html
import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from qmanet_benco.evaluation.metrics import METRICS
from qmanet_benco.evaluation.report.figures import first_seeds, kept_images, picture_in, preview
from qmanet_benco.evaluation.report.render import html_table
from qmanet_benco.evaluation.report.tables import Run, Table

_STYLE = """
body{font:15px/1.45 system-ui,sans-serif;max-width:1200px;margin:2em auto;padding:0 1em;color:#111;background:#fff}
table{border-collapse:collapse;font-size:13px}th,td{padding:.25em .6em;border-bottom:1px solid #ccc;text-align:right}
th:first-child,td:first-child,.words th,.words td{text-align:left}.wide{overflow-x:auto}.note{color:#444;font-size:13px}
.figure{max-width:100%}.controls{position:sticky;top:0;background:#fff;padding:.6em 0;border-bottom:1px solid #ccc}
.item{border-bottom:1px solid #ddd;padding:.6em 0}.strip{display:flex;flex-wrap:wrap;gap:8px}
.strip figure{margin:0;width:150px}.strip img{width:150px;display:block;background:#eee;outline:1px solid #999}
.strip figcaption{font-size:12px;overflow-wrap:anywhere}select,label{margin-right:1em}
"""
_SCRIPT = """
const items=JSON.parse(document.getElementById('items').textContent);
const place=document.getElementById('gallery'),set=document.getElementById('set'),by=document.getElementById('by'),
order=document.getElementById('order');
function fill(select,values){for(const v of values){const o=document.createElement('option');o.value=v;o.textContent=v;
select.append(o);}}
fill(set,[...new Set(items.map(i=>i.set))]);fill(by,[...new Set(items.flatMap(i=>i.masks.map(m=>m.model)))]);
function picture(source,text){const f=document.createElement('figure');if(source){const i=document.createElement('img');
i.src=source;i.alt=text;i.loading='lazy';f.append(i);}const c=document.createElement('figcaption');c.textContent=text;
f.append(c);return f;}
function f1(item){if(by.value==='')return item.mean;const m=item.masks.find(m=>m.model===by.value);
return m&&m.f1!==null?m.f1:-1;}
function show(){const sign=order.value==='worst'?1:-1;const chosen=items.filter(i=>set.value===''||i.set===set.value);
chosen.sort((a,b)=>sign*(f1(a)-f1(b))||(a.name<b.name?-1:1));place.replaceChildren(...chosen.map(item=>{
const d=document.createElement('div');d.className='item';d.dataset.name=item.name;d.dataset.f1=f1(item);
const t=document.createElement('div');
t.textContent=item.set+' / '+item.name+', mean F1 '+item.mean.toFixed(3);const s=document.createElement('div');
s.className='strip';s.append(picture(item.photo,'photo'),picture(item.truth,'truth'));
for(const m of item.masks)s.append(picture(m.image,m.model+(m.f1===null?'':', F1 '+m.f1.toFixed(3))));
if(item.disagreement)s.append(picture(item.disagreement,'disagreement of the models'));d.append(t,s);return d;}));
document.getElementById('count').textContent=chosen.length+' images';}
for(const e of [set,by,order])e.addEventListener('change',show);show();
"""


def html_report(run: Run, root: Path, tables: Sequence[Table], figures: Sequence[tuple[str, bytes]]) -> str:
    """The whole report as one file.

    Args:
        run: the records.
        root: the run's folder, whose previews go into the gallery.
        tables: in their order.
        figures: title and PNG of each.

    Returns:
        HTML that refers to nothing outside itself; names of models, sets and images are inert text.
    """
    name = html.escape(str(run.suite["name"]))
    images = "".join(
        f"<h2>{html.escape(title)}</h2><img class=figure alt='{html.escape(title)}' src='{_uri(png, 'png')}'>"
        for title, png in figures
    )
    options = "<option value=''>all</option>"
    controls = (
        f"<div class=controls><label>set <select id=set>{options}</select></label>"
        "<label>sorted by F1 of <select id=by><option value=''>all models</option></select></label>"
        "<label>first <select id=order><option value=worst>the worst</option>"
        "<option value=best>the best</option></select></label><span id=count></span></div>"
    )
    data = json.dumps(gallery_items(run, root)).replace("<", "\\u003c")  # nothing in it can end the script element
    return (
        f"<!doctype html><html lang=en><meta charset=utf-8><title>{name}</title><style>{_STYLE}</style>"
        f"<h1>{name}</h1><p>{_settings(run)}</p>{''.join(map(html_table, tables))}{images}{_definitions()}"
        f"<h2>Images</h2>{controls}<div id=gallery></div>"
        f"<script type='application/json' id=items>{data}</script><script>{_SCRIPT}</script></html>"
    )


def gallery_items(run: Run, root: Path) -> list[dict[str, Any]]:
    """Every image whose small pictures were kept: photo, truth, masks with their F1, and how much they disagree."""
    rows = run.records[run.records["attack"] == "none"]
    scores = rows.groupby(["row", "set", "image"])["f1"].mean().to_dict()
    items = []
    for name in run.sets():
        for stem, mean in kept_images(run, root, name).items():
            masks = []
            for model, folder in first_seeds(run).items():
                path = preview(root, "mask", name, stem, folder)
                if path.is_file():
                    masks.append({"model": model, "f1": scores.get((model, name, stem)), "image": _file_uri(path)})
            items.append(
                {
                    "set": name,
                    "name": stem,
                    "mean": mean,
                    "photo": _file_uri(preview(root, "photo", name, stem)),
                    "truth": _file_uri(preview(root, "truth", name, stem)),
                    "masks": masks,
                    "disagreement": _disagreement(run, root, name, stem),
                }
            )
    return items


def _disagreement(run: Run, root: Path, name: str, stem: str) -> str:
    """The standard deviation of the models' probabilities, white where it is the largest possible (0.5)."""
    paths = [preview(root, "mask", name, stem, folder) for folder in first_seeds(run).values()]
    masks = []
    for path in paths:
        picture = picture_in(path)
        if picture is not None:
            masks.append(picture.astype(np.float32) / 255)
    if len(masks) < 2 or len({mask.shape for mask in masks}) > 1:
        return ""
    spread = np.stack(masks).std(axis=0) / 0.5
    stream = io.BytesIO()
    Image.fromarray((spread.clip(0, 1) * 255).astype(np.uint8)).save(stream, "PNG")
    return _uri(stream.getvalue(), "png")


def _definitions() -> str:
    rows = "".join(
        f"<tr><td>{html.escape(metric.name)}</td><td>{html.escape(metric.definition)}</td>"
        f"<td>{html.escape(metric.averages_over)}</td><td>{html.escape(metric.differs_from_stock)}</td></tr>"
        for metric in METRICS
    )
    head = "<tr><th>metric</th><th>definition</th><th>averages over</th><th>difference from the framework's</th></tr>"
    return f"<h2>Metrics</h2><div class='wide words'><table>{head}{rows}</table></div>"


def _settings(run: Run) -> str:
    suite = run.suite
    words = [f"{suite['image_size']} x {suite['image_size']} ({suite['resize']})", suite["precision"]]
    words += [f"seed {suite['seed']}", f"batch {suite['batch']}"]
    words += [f"{name} {version}" for name, version in suite["environment"].items()]
    words += [f"{entry['name']}: {entry['images']} images" for entry in suite["sets"]]
    words += [f"FAILED {line}" for line in suite.get("failures", ())]
    return html.escape("; ".join(map(str, words)))


def _file_uri(path: Path) -> str:
    return _uri(path.read_bytes(), path.suffix.lstrip(".").replace("jpg", "jpeg")) if path.is_file() else ""


def _uri(content: bytes, kind: str) -> str:
    return f"data:image/{kind};base64,{base64.b64encode(content).decode()}"
