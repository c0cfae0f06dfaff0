"""The text over which quality is measured: prose and code in turn, written for this program.

It must never change: figures of different days are compared. A model that has seen it in its training would
find it too easy, so nothing of it was published before.
"""

QUALITY_TOKENS = 2000

QUALITY_TEXT = '''\
The lighthouse at Skarv has had no keeper since 1987, but somebody still has to climb it. Every second
Thursday Marit drives out along the causeway, waits for the tide if she has to, and carries a bucket, a brush
and a thermos up one hundred and sixty-two steps. The lamp itself looks after itself: a sensor switches it on
at dusk, a second one counts its turns, and a radio tells the office in town when something is wrong. What no
sensor does is wash the glass. Salt settles on it in a grey film, gulls sit on the gallery rail, and after a
fortnight of westerly wind the beam has lost a tenth of its reach.

She likes the work best in October. The summer visitors have gone, the heather is the colour of rust, and from
the gallery you can see the rain coming twenty minutes before it arrives. Once, in her first year, she counted
the ships: eleven in an hour, all of them heading north, and not one that slowed down. Her daughter asked her
afterwards whether the captains knew that she was up there. "They know that the light is," Marit said.

import math
from collections import defaultdict


class Histogram:
    """Counts values in bins whose widths grow by a constant factor."""

    def __init__(self, smallest: float = 1e-6, factor: float = 1.25) -> None:
        if factor <= 1:
            raise ValueError("the factor must be larger than 1")
        self.smallest = smallest
        self.factor = factor
        self.counts: dict[int, int] = defaultdict(int)
        self.total = 0

    def add(self, value: float) -> None:
        bin_number = max(0, math.floor(math.log(value / self.smallest, self.factor)))
        self.counts[bin_number] += 1
        self.total += 1

    def quantile(self, share: float) -> float:
        """The upper edge of the bin in which the share is reached."""
        wanted, seen = share * self.total, 0
        for bin_number in sorted(self.counts):
            seen += self.counts[bin_number]
            if seen >= wanted:
                return self.smallest * self.factor ** (bin_number + 1)
        raise ValueError("the histogram is empty")

 Bread is mostly a matter of waiting. Flour, water and salt are mixed in two minutes; what happens in the
next eighteen hours happens without you. Enzymes in the flour cut starch into sugar, yeast turns the sugar
into gas, and bacteria make the acids that give a loaf its taste and keep it from going stale. A cold
kitchen slows all of this down, a warm one hurries it, and a baker who complains about her oven usually
ought to complain about her thermometer. If you have only one rule, take this one: judge the dough, not the
clock. It is ready when it has nearly doubled, when it trembles as you move the bowl, and when a wet finger
leaves a dent that fills again slowly. Then shape it, let it rest for another hour, and bake it hotter than
you dare.

A common mistake is to add flour because the dough sticks. All dough sticks at first. After thirty minutes of
rest the same dough can be folded with wet hands, and after the third fold it holds together like cloth. Too
much flour, on the other hand, can never be taken out again: the crumb becomes dense, the crust pale, and the
loaf is dry on the second day.

SELECT c.name, COUNT(*) AS orders, SUM(o.amount) AS total
FROM customers AS c
JOIN orders AS o ON o.customer_id = c.id
WHERE o.created_at >= '2024-01-01' AND o.status <> 'cancelled'
GROUP BY c.id, c.name
HAVING SUM(o.amount) > 1000
ORDER BY total DESC
LIMIT 20;

The query above reads well, and it was slow. On a table of forty million orders it took nineteen seconds,
because the date was compared before anything else and there was an index on the customer only. A second index
on (status, created_at) brought it down to three; leaving out the customers who had never ordered changed
nothing, since a join does that by itself. What helped most in the end was a question to the people who used
the report. They looked at it once a week, on Monday mornings. It is now computed on Sunday night, and nobody
has asked since how long it takes.

function debounce(callback, delayMs) {
  let timer = null;
  return function (...args) {
    if (timer !== null) {
      clearTimeout(timer);
    }
    timer = setTimeout(() => {
      timer = null;
      callback.apply(this, args);
    }, delayMs);
  };
}

const search = debounce(async (text) => {
  const response = await fetch(`/api/search?q=${encodeURIComponent(text)}`);
  if (!response.ok) {
    throw new Error(`search failed with status ${response.status}`);
  }
  showResults(await response.json());
}, 250);

Dear Ms Lindqvist,

thank you for your patience with our repair of the village hall roof. As you will have seen, the scaffolding
is still standing, and I owe you an explanation. When the old tiles came off we found that two of the main
rafters were rotten where they meet the north wall, probably since the storm of 1999. The carpenter has
ordered new oak, which takes about five weeks to arrive. Until then a tarpaulin keeps the rain out. The
dance evening on the 14th can take place, but please keep the stage door closed, and do not hang anything
from the beams.

The additional cost is 8,460 euros. The parish council has agreed to pay half of it, and the savings bank
has offered a loan without interest for the rest. I would be glad to show you the plans on any afternoon
next week.

With kind regards,
Tomas Eriksen

How does a touch screen know where your finger is? Under the glass lie two layers of thin, transparent
wires, one running across and one running down. Together they form thousands of tiny capacitors, one at each
crossing. A finger is mostly salt water and conducts electricity a little; when it comes near, it takes some
of the charge away from the crossings below it. A chip measures all of them about a hundred times a second
and looks for the places where charge is missing. Because a finger covers several crossings at once, the
chip can work out its centre far more precisely than the wires are spaced, in the same way in which you can
tell the middle of a shadow. Gloves keep the finger too far away, and raindrops look like fingers, which is
why a wet phone seems to have a mind of its own.

#include <stdio.h>
#include <stdlib.h>

struct node {
    int key;
    struct node *left, *right;
};

static struct node *insert(struct node *root, int key)
{
    if (root == NULL) {
        struct node *fresh = malloc(sizeof *fresh);
        if (fresh == NULL)
            exit(EXIT_FAILURE);
        *fresh = (struct node){ .key = key };
        return fresh;
    }
    if (key < root->key)
        root->left = insert(root->left, key);
    else if (key > root->key)
        root->right = insert(root->right, key);
    return root;
}

The old mathematician was asked at dinner what a proof was. He thought about it while he finished his soup.
"It is a letter," he said at last, "to somebody who does not believe you, and whom you will never meet. So
you must think of every objection while you write. If you say that a number exists, he will ask you which
one. If you say that the rest is clear, he will stop reading. But if you have answered everything, then he
has to agree with you, even if he lives three hundred years later and speaks another language, and there is
nothing he can do about it. No general and no king has ever had such power over anybody." Then he asked for
the salt.

In 1911 the river froze as far as the second bridge. Carts crossed it, a bakery put up a stall in the
middle, and the newspaper printed a map of the safe paths each morning. On the 9th of February a horse broke
through near the brewery; both it and the driver were pulled out with ladders. After that the police closed
the ice at night. It has frozen four times since, in 1929, 1942, 1963 and 1987, but never again for more
than six days, and the bridges of today let warm water from the power station pass beneath them.
'''
