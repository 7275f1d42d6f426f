"""A review laid out as a page of sentences × words, and a recurrent layer over both dimensions of it.

B rows of the batch, T positions, S lines of a page, W words of a line, H features.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import linear, pad

from pipeline.models.layers.masking import token_mask

SHORTEST_LINE = 4
"""Tokens. A sentence mark this soon after the last one ends no line, so that a page has at most T/4 + T/W lines."""


@dataclass(frozen=True)
class Page:
    """Where each token stands: its line and its word in the line, int64 (B, T); and how many lines the longest page has."""

    line: Tensor
    word: Tensor
    num_lines: int


def lay_out(ids_BT: Tensor, lengths_B: Tensor, sentence_ends: Tensor, width: int) -> Page:
    """Starts a line after each sentence mark, and where a line has `width` words.

    `sentence_ends`: ids of the marks; without any, every line but the last has `width` words. The number of lines is
    needed on the host: the one synchronisation of the forward pass.
    """
    num_positions = ids_BT.shape[1]
    position_T = torch.arange(num_positions, device=ids_BT.device)
    ends_BT = torch.isin(ids_BT, sentence_ends.to(ids_BT.dtype))
    marks_BT = torch.where(ends_BT, position_T, -1).cummax(dim=1).values
    last_mark_BT = pad(marks_BT[:, :-1], (1, 0), value=-1)
    ends_BT = ends_BT & (position_T - last_mark_BT >= SHORTEST_LINE)
    starts_BT = pad(ends_BT[:, :-1], (1, 0), value=True)
    start_BT = torch.where(starts_BT, position_T, 0).cummax(dim=1).values
    word_BT = (position_T - start_BT) % width
    line_BT = (word_BT == 0).cumsum(dim=1) - 1
    lines = int(line_BT.masked_fill(~token_mask(lengths_B, num_positions), 0).max()) + 1
    return Page(line_BT, word_BT, lines)


class PageRNN(nn.Module):
    """A two-dimensional recurrent layer in one of its four directions; equations in `pipeline/models/md_rnn.py`.

    `up`, `left`: whether it reads lines from the last to the first, and words from right to left. A step takes one
    anti-diagonal of all pages: its cells depend on the one before only, S + W − 1 steps instead of S · W.
    """

    def __init__(self, input_dim: int, hidden_dim: int, *, up: bool = False, left: bool = False) -> None:
        super().__init__()
        self.up, self.left = up, left
        self.weight_ih = nn.Parameter(torch.empty(hidden_dim, input_dim))
        self.weight_hh = nn.Parameter(torch.empty(hidden_dim, 2 * hidden_dim))
        """U₁ for the line before, U₂ for the word before, side by side."""
        self.bias = nn.Parameter(torch.zeros(hidden_dim))
        nn.init.xavier_uniform_(self.weight_ih)
        with torch.no_grad():
            # Two recurrences meet in a cell: halves keep their sum from growing over the page.
            self.weight_hh.copy_(
                torch.cat([nn.init.orthogonal_(torch.empty(hidden_dim, hidden_dim)) for _ in range(2)], 1) / 2
            )

    def forward(self, inputs_BTE: Tensor, lengths_B: Tensor, page: Page, width: int) -> Tensor:
        """Returns the states in the order of the tokens (B, T, H), 0 at padding."""
        num_rows, num_positions = inputs_BTE.shape[:2]
        lines, words = page.num_lines, min(width, num_positions)
        mask_BT = token_mask(lengths_B, num_positions)
        line_BT = lines - 1 - page.line if self.up else page.line
        word_BT = words - 1 - page.word if self.left else page.word
        row_B1 = torch.arange(num_rows, device=inputs_BTE.device).unsqueeze(1)
        # Cell (diagonal, row, line) of the skewed pages; tokens of the padding share the cell after the last.
        num_cells = (lines + words - 1) * num_rows * lines
        cell_BT = ((line_BT + word_BT) * num_rows + row_B1) * lines + line_BT
        cell_N = torch.where(mask_BT, cell_BT, num_cells).reshape(-1)
        token_of_cell = torch.zeros(num_cells + 1, dtype=torch.int64, device=cell_N.device)
        token_of_cell.scatter_(0, cell_N, torch.arange(cell_N.numel(), device=cell_N.device))
        filled = torch.zeros(num_cells + 1, dtype=torch.bool, device=cell_N.device).scatter_(0, cell_N, True)

        projected_NH = linear(inputs_BTE, self.weight_ih, self.bias).flatten(0, 1)
        tokens_DC = token_of_cell[:-1].view(lines + words - 1, num_rows * lines)
        filled_DC1 = filled[:-1].view(lines + words - 1, num_rows * lines, 1).to(projected_NH.dtype)
        recurrence = self.weight_hh.t()
        state_BSH = projected_NH.new_zeros(num_rows, lines, self.bias.shape[0])
        states = []
        for tokens_C, filled_C1 in zip(tokens_DC.unbind(0), filled_DC1.unbind(0), strict=True):
            before_BSH = pad(state_BSH[:, :-1], (0, 0, 1, 0))
            neighbours = torch.cat([before_BSH, state_BSH], dim=-1).flatten(0, 1)
            moved_CH = torch.addmm(projected_NH.index_select(0, tokens_C), neighbours, recurrence)
            state_BSH = (torch.tanh(moved_CH) * filled_C1).view(num_rows, lines, -1)
            states.append(state_BSH)
        found_NH = torch.stack(states).flatten(0, 2).index_select(0, cell_N.clamp_max(num_cells - 1))
        return found_NH.view(num_rows, num_positions, -1) * mask_BT.unsqueeze(-1).to(found_NH.dtype)
