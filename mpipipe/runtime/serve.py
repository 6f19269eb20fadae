"""Every rank but 0: wait for an order, carry it out, until told to stop."""

from mpipipe.runtime.crew import CONDUCTOR
from mpipipe.runtime.inbox import Overruled
from mpipipe.runtime.member import Member
from mpipipe.runtime.move import move, receive_plan
from mpipipe.runtime.orders import What
from mpipipe.runtime.trace import answer_clock


def serve(member: Member) -> int:
    """The exit status that rank 0 stops with. An order may overrule the one being carried out."""
    order = member.next_order()
    while True:
        try:
            if order.what == What.MOVE:
                move(member, receive_plan(member, order.number))
            elif order.what == What.CLOCK:
                answer_clock(member.transport, CONDUCTOR, member.patience("telling the time"))
            else:
                member.obey(order)
        except Overruled as overruled:
            order = overruled.order
            continue
        if order.what == What.STOP:
            return order.number
        order = member.next_order()
