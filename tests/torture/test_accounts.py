"""The books of a soak: what is missing, doubled or out of order is found."""

from twisted.trial.unittest import SynchronousTestCase

from .accounts import Channel, Stay


class AccountsTests(SynchronousTestCase):
    """One member on a channel with the messages 0 to 9 of talker 1000, and one of talker 2000 in the middle."""

    def setUp(self) -> None:
        self.channel = Channel("channel")
        for number in range(10):
            self.channel.heard((1000, number))
            if number == 4:
                self.channel.heard((2000, 0))

    def look(self, talker: int, heard: list[tuple[int, int]], first: int | None = 0, after: int = -1) -> list[str]:
        """What is found wrong with what somebody has got."""
        stay = Stay(self.channel, talker, first, after)
        stay.heard.extend(heard)
        stay.look()
        return [*stay.faults, *stay.unfinished()]

    def test_all(self) -> None:
        """Who gets everything has nothing wrong, and so has the one whose own message does not come back."""
        self.assertEqual(self.look(3000, self.channel.order), [])
        self.assertEqual(self.look(2000, [message for message in self.channel.order if message[0] != 2000]), [])

    def test_missing(self) -> None:
        """A message in the middle or at the beginning that is missing is found."""
        order = self.channel.order
        self.assertEqual(len(self.look(3000, order[:3] + order[4:])), 1)
        self.assertEqual(len(self.look(3000, order[1:])), 1)
        self.assertEqual(self.look(3000, order[1:], first=None), [])

    def test_doubled(self) -> None:
        """A message that comes twice is found, also when somebody had it before, and one that comes late."""
        order = self.channel.order
        self.assertEqual(len(self.look(3000, [*order, order[3]])), 1)
        self.assertEqual(len(self.look(3000, order[3:], first=4, after=3)), 1)
        self.assertEqual(len(self.look(3000, [order[1], order[0], *order[2:]], first=None)), 1)
        self.channel.heard((1000, 3))
        self.assertEqual(len(self.channel.faults), 1)

    def test_own(self) -> None:
        """One's own message that comes back is found, and so is one that nobody else has got."""
        self.assertEqual(len(self.look(2000, self.channel.order)), 1)
        self.assertEqual(len(self.look(3000, [*self.channel.order, (4000, 0)])), 1)

    def test_said(self) -> None:
        """Of what somebody has said all has to come, in order; when it vanishes, as much as came is enough."""
        stay = Stay(self.channel, 1000, said=10)
        self.assertEqual(list(stay.unheard(left=True)), [])
        stay.said = 12
        self.assertEqual(len(list(stay.unheard(left=True))), 1)
        self.assertEqual(list(stay.unheard(left=False)), [])
        self.channel.heard((1000, 11))
        self.assertEqual(len(list(stay.unheard(left=False))), 1)

    def test_goal(self) -> None:
        """Who leaves waits for the last message that is not its own."""
        self.assertEqual(Stay(self.channel, 3000).goal(), 10)
        self.channel.heard((3000, 0))
        self.assertEqual(Stay(self.channel, 3000).goal(), 10)
        self.assertEqual(Stay(Channel("empty"), 3000).goal(), -1)
