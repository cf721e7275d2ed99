# SPDX-License-Identifier: GPL-3.0-or-later
"""The signed distance on the mesh's grid: at every node, or only where the surface can be."""

import itertools

import torch
from torch import Tensor

from ..contracts.progress import OnEvent, StepDone, ignore_events
from .reconstruction.geometry_volume import GeometryVolume
from .reconstruction.grid_sdf import GridSdf
from .reconstruction.reconstructor import SparseNeuSReconstructor

CHUNK_NODES = 2**12
"""Nodes evaluated at once: their hidden layers fit a core's cache."""
MEAN_SLOPE_FACTOR = 2.0
"""Blocks are searched up to this multiple of the field's mean slope; a distance has slope 1."""
STEEPEST_FACTOR = 1.25
"""And up to this multiple of the steepest slope at which surface was found."""


def sdf_grid(
    reconstructor: SparseNeuSReconstructor,
    volume: GeometryVolume,
    resolution: int,
    on_event: OnEvent = ignore_events,
) -> Tensor:
    """(R,R,R) signed distance at the nodes of linspace(-1,1,R) on each axis, x first."""
    nodes = torch.arange(resolution, device=volume.features.device)
    index = torch.cartesian_prod(nodes, nodes, nodes)
    sdf = _sdf_at_nodes(reconstructor.grid_sdf(volume, resolution), index, on_event)
    return sdf.view(resolution, resolution, resolution)


def searched_sdf_grid(
    reconstructor: SparseNeuSReconstructor,
    volume: GeometryVolume,
    resolution: int,
    stride: int,
    on_event: OnEvent = ignore_events,
) -> Tensor:
    """Like `sdf_grid` near the surface; elsewhere the value of a nearby node, of the right sign.

    Every `stride`-th node per axis is evaluated; they are the corners of blocks. A block's
    steepness is the slope that the signed distance would need to reach zero inside it from its
    nearest corner. Blocks are evaluated in full

    - up to `MEAN_SLOPE_FACTOR` times the mean slope between the corners, or 1 if that is less,
    - up to `STEEPEST_FACTOR` times the largest steepness at which a block did hold surface,
    - and wherever the surface leaves an evaluated block,

    until none is left. The zero level set is therefore that of the full grid unless a part of it
    touches no evaluated block, which takes a slope beyond both bounds.
    """
    evaluate = reconstructor.grid_sdf(volume, resolution)
    nodes = torch.arange(0, resolution + stride - 1, stride, device=volume.features.device)
    nodes = nodes.clamp_max(resolution - 1)
    coarse = _sdf_at_nodes(evaluate, torch.cartesian_prod(nodes, nodes, nodes), ignore_events)
    coarse = coarse.view(len(nodes), len(nodes), len(nodes))
    sdf = _repeat(coarse[:-1, :-1, :-1], stride, resolution)
    sdf[nodes[:, None, None], nodes[:, None], nodes] = coarse

    spacing = 2 * stride / (resolution - 1)
    steepness = _block_corners(coarse.abs()).amin(0) / (3**0.5 * spacing / 2)
    mean_slope = torch.stack(torch.gradient(coarse, spacing=spacing)).norm(dim=0).mean()
    bound = MEAN_SLOPE_FACTOR * max(1.0, float(mean_slope))
    searched = torch.zeros_like(sdf, dtype=torch.bool)
    while True:
        holds_surface = _sign_changes(sdf, stride, len(steepness))
        steepest = float((steepness * holds_surface).max())
        bound = max(bound, STEEPEST_FACTOR * steepest)
        wanted = _nodes(holds_surface | (steepness <= bound), stride, resolution) & ~searched
        if not wanted.any():
            return sdf
        sdf[wanted] = _sdf_at_nodes(evaluate, wanted.nonzero(), on_event, int(searched.sum()))
        searched |= wanted


def _sdf_at_nodes(
    evaluate: GridSdf, index: Tensor, on_event: OnEvent, num_before: int = 0
) -> Tensor:
    """(P,) at nodes `index` (P,3); `num_before` were evaluated earlier, for the progress."""
    values: list[Tensor] = []
    for chunk in index.split(CHUNK_NODES):
        values.append(evaluate(chunk))
        done = num_before + min(CHUNK_NODES * len(values), len(index))
        on_event(StepDone("sdf", done, num_before + len(index)))
    return torch.cat(values)


def _block_corners(nodes: Tensor) -> Tensor:
    """(8,B,B,B) the corners of each block between (B+1)^3 nodes."""
    near, far = slice(None, -1), slice(1, None)
    return torch.stack([nodes[corner] for corner in itertools.product((near, far), repeat=3)])


def _sign_changes(sdf: Tensor, stride: int, num_blocks: int) -> Tensor:
    """(B,B,B) bool: the nodes of the block, its far faces included, are not all of one sign."""
    inside = sdf < 0
    return _any_node(inside, stride, num_blocks) & _any_node(~inside, stride, num_blocks)


def _any_node(marked: Tensor, stride: int, num_blocks: int) -> Tensor:
    """(B,B,B) bool: some node of the block, its far faces included, is marked."""
    for axis in range(3):
        missing = num_blocks * stride + 1 - marked.shape[axis]
        last = marked.narrow(axis, -1, 1)
        padded = torch.cat([marked, *[last] * missing], dim=axis)
        marked = padded.unfold(axis, stride + 1, stride).any(-1)
    return marked


def _repeat(blocks: Tensor, stride: int, resolution: int) -> Tensor:
    """(R,R,R) the value of the block that each node belongs to."""
    owner = torch.arange(resolution, device=blocks.device) // stride
    owner = owner.clamp_max(len(blocks) - 1)
    for axis in range(3):
        blocks = blocks.index_select(axis, owner)
    return blocks


def _nodes(blocks: Tensor, stride: int, resolution: int) -> Tensor:
    """(R,R,R) bool: the nodes of the marked blocks, their far faces included."""
    nodes = _repeat(blocks, stride, resolution)
    for axis in range(3):
        before = nodes.narrow(axis, 0, resolution - 1).clone()
        nodes.narrow(axis, 1, resolution - 1).logical_or_(before)
    return nodes
