"""A small, sound set of tables from another domain (why is there no coffee), for tests to spoil."""

from __future__ import annotations

from pathlib import Path

from twitchdx.tables.schema import Finding

COFFEE = {
    "priors/populations.csv": """\
population,label,base,refers_to,description,source
office,Offices,,,Machines in offices,
repair_shop,Repair shop,office,office,Machines that were brought in,
""",
    "priors/demographics.csv": """\
population,sex,age_band,share
office,female,0-4,0.3
office,male,0-4,0.2
office,female,5+,0.3
office,male,5+,0.2
""",
    "priors/office.csv": """\
cause,sex,age_band,prevalence,low,high,basis,grade,source,note
limescale,any,any,0.2,0.15,0.25,point,study,bean2001descaling,
limescale,any,5+,0.4,0.3,0.5,point,study,bean2001descaling,
limescale,female,any,0.25,0.2,0.3,point,study,bean2001descaling,
pump_worn,any,any,0.05,0.01,0.2,judgement,expert,,guess
hard_water,any,any,0.3,0.2,0.4,exposure,review,bean2001descaling;grind1999pumps,
low_pressure,any,any,0.06,0.015,0.2,judgement,expert,,guess
""",
    "priors/repair_shop.csv": """\
cause,sex,age_band,prevalence,low,high,basis,grade,source,note
pump_worn,any,any,0.3,0.2,0.4,case_mix,study,grind1999pumps,
""",
    "priors/links.csv": """\
cause,given,probability,low,high,grade,source,note
limescale,hard_water,0.45,0.3,0.6,study,bean2001descaling,
low_pressure,pump_worn,0.7,0.4,0.9,expert,,guess
""",
    "evidence_tables/causes.csv": """\
cause,name,group,icd10,nature,seriousness,action_threshold,definition,source
limescale,Limescale,water,,disease,significant,,Scale in the boiler now,
pump_worn,Worn pump,parts,,disease,cannot_miss,0.05,Pump below 9 bar,
hard_water,Hard water,water,,exposure,benign,,More than 14 degrees,
low_pressure,Low pressure,parts,,syndrome,benign,,What low pressure does,
""",
    "evidence_tables/findings.csv": ",".join(Finding.columns())
    + """
lukewarm,Tepid,Warm?,symptom,taste,,Below 60 degrees,0.1,0.05,0.2,0.01,0.9,study,grind1999pumps,
cold,Cold,Cold?,symptom,taste,,Below 30 degrees,0.02,0.005,0.07,0.01,0.9,expert,,guess
dripping,Dripping,Drips?,sign,flow,,Drops not a jet,0.05,0.02,0.1,0.05,0.5,study,grind1999pumps,
""",
    "evidence_tables/backgrounds.csv": """\
finding,sex,age_band,background,low,high,grade,source,note
dripping,any,5+,0.08,0.04,0.15,study,grind1999pumps,
""",
    "evidence_tables/likelihoods/taste.csv": """\
cause,finding,probability,low,high,grade,source,note
limescale,lukewarm,0.6,0.5,0.7,study,bean2001descaling,
limescale,cold,0.1,0.03,0.3,expert,,guess
""",
    "evidence_tables/likelihoods/flow.csv": """\
cause,finding,probability,low,high,grade,source,note
limescale,dripping,0.4,0.3,0.5,study,bean2001descaling,
low_pressure,dripping,0.8,0.7,0.9,review,grind1999pumps,
""",
    "evidence_tables/measurements.csv": """\
quantity,unit,comparator,threshold,sex,finding,plausible_low,plausible_high,source
temperature,C,<,60,,lukewarm,0,110,
temperature,C,<,30,,cold,0,110,
""",
    "evidence_tables/units.csv": """\
quantity,unit,factor,offset
temperature,F,0.5555555556,-17.7777777778
""",
    "evidence_tables/implications.csv": """\
finding,implies,note
cold,lukewarm,below 30 is below 60
""",
    "evidence_tables/red_flags.csv": """\
flag,name,all_of,any_of,none_of,urgency,message,source
no_coffee,No coffee,dripping,cold;pump_worn,hard_water,urgent,Call somebody,
""",
    "evidence_tables/workup.csv": """\
rule,cause,all_of,none_of,action,test,reason,source
open_it,pump_worn,dripping,lukewarm,order,Open the case,To see the pump,
""",
    "evidence_tables/management.csv": """\
cause,line,treatment,caveat,source
limescale,first,Vinegar,Smells,bean2001descaling
""",
    "evidence_tables/claims.csv": """\
claim,seeds,kind,statement,contested,carried_by,expectation,reason
c1,001;002,definition,Scale cools coffee,no,likelihoods: limescale lukewarm,,
""",
    "evidence_tables/aliases.csv": """\
alias,kind,stands_for,meaning
scale_or_pump,cause,limescale;pump_worn,Before the two were told apart
tepid,finding,lukewarm,Not hot
""",
    "evidence_tables/sources.csv": """\
source,authors,year,title,journal,doi_or_pmid,url,note
bean2001descaling,Bean A,2001,Descaling,J Coffee,10.1234/jc.1,,
grind1999pumps,Grind B,1999,On pumps,,,https://example.org/pumps,
""",
}


def write(folder: Path, changes: dict[str, str | bytes | None] | None = None) -> Path:
    """Write the example into a folder, some files replaced (None: left out)."""
    for name, content in {**COFFEE, **(changes or {})}.items():
        if content is None:
            continue
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return folder


def spoil(name: str, old: str, new: str) -> dict[str, str | bytes | None]:
    """One file of the example with one stretch of text replaced."""
    text = COFFEE[name]
    assert old in text, f"{old!r} is not in {name}"
    return {name: text.replace(old, new, 1)}
