"""Sets of requests, exactly: what a condition is surely true for, and what is left of it after another.

    domain    Choice | Spans: the values of one variable, absence included; & | complement() <= pick() words(name)
    terms     Variable, Test, Related, All, Any: statements about requests; every(...), some(...)
    world     World(vocabulary, site): what values there can be; world.universe(variable), world.test(variable, domain),
              negation(statement, world)
    truth     surely(condition, world), surely_not(condition, world) -> Statement
    scope     reach(rule, world), region(rule, world), stopped(rule, world) -> Statement
    box       boxes(statement, world, limit) -> tuple[Box, ...] | None ("not decided"); box & box, box.minus(box),
              box <= box, box.meets(box), box.is_empty, box.spot(), box.words(); covered(box, others, limit) -> Coverage
    pairs     Index.of(regions): meeting(region) and inside(region) give the places of all those regions at once
    witness   witness(box) -> Witness(request, at) | None; holds(statement, world, request, at); lies_in(box, ...)
    assign    one value for every variable of a box: what the emptiness of boxes rests on (and relations)
    whole     parts of conditions that have no exact reading, and what is known of them all the same

A proof speaks of complete requests that keep to the vocabulary, facts written
into them. It is exact for conjunctions, disjunctions and negations of
comparisons with constants and between attributes of one type, membership in
constants, prefixes, organisations' paths, networks, the time of day and `has`.
A part of any other kind is a variable of its own: two parts that are written
alike are the same, two that are written otherwise count as independent. So
"disjoint", "within" and "covered" are always right; "these meet" may rest on
such parts and is shown by a witness, which the engine then decides on. Numbers
that are NaN or infinite are outside of it.
"""
