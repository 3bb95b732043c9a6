"""Equirectangular pictures made of scikit-image's photographs, whose edges run into each other."""

import math

import numpy as np
import torch
import torch.nn.functional as F

from helpers.photographs import photograph

# Photographs in front, to the right, behind, to the left, above and below; each is seen over 104 degrees.
SCENES = (
    ("astronaut.png", "coffee.png", "rocket.jpg", "chelsea.png", "hubble_deep_field.jpg", "gravel.png"),
    ("motorcycle_left.png", "chelsea.png", "astronaut.png", "ihc.png", "moon.png", "grass.png"),
    ("coffee.png", "camera.png", "motorcycle_right.png", "astronaut.png", "rocket.jpg", "brick.png"),
)
EDGE = math.tan(math.radians(52))


def directions(height, width):
    """Right, up and forward of the pixels of an equirectangular picture, `(3, H, W)`, float64."""
    longitude = ((torch.arange(width, dtype=torch.float64) + 0.5) / width - 0.5) * 2 * math.pi
    latitude = (0.5 - (torch.arange(height, dtype=torch.float64) + 0.5) / height) * math.pi
    latitude, longitude = torch.meshgrid(latitude, longitude, indexing="ij")
    return torch.stack([longitude.sin() * latitude.cos(), latitude.sin(), longitude.cos() * latitude.cos()])


def make_panorama(width, scene=SCENES[0]):
    """`(3, width / 2, width)`, float32 in [0, 1]."""
    right, up, forward = directions(width // 2, width)
    axes = [
        *((right, up, forward), (-forward, up, right), (-right, up, -forward), (forward, up, -right)),
        *((right, -forward, up), (right, forward, -up)),
    ]
    total, counted = torch.zeros(3, width // 2, width), torch.zeros(width // 2, width)
    for name, (across, above, ahead) in zip(scene, axes, strict=True):
        x, y = across / ahead / EDGE, -above / ahead / EDGE
        far = torch.maximum(x.abs(), y.abs())
        weight = ((1 - far) / (1 - 1 / EDGE)).clamp(0, 1) * (ahead > 0)  # photographs melt where they overlap
        grid = torch.stack([x, y], dim=-1).clamp(-2, 2)[None].float()
        seen = F.grid_sample(_square(name, width), grid, padding_mode="border", align_corners=False)[0]
        total, counted = total + seen * weight, counted + weight
    return (total / counted).float().clamp(0, 1)


def turned(panorama, degrees):
    """About its axis, by a shift of phase: few angles are whole pixels."""
    waves = torch.fft.rfft(panorama.double())
    turns = torch.arange(waves.shape[-1], dtype=torch.float64) * (-degrees / 360)
    shifted = waves * torch.polar(torch.ones_like(turns), 2 * math.pi * turns)
    return torch.fft.irfft(shifted, n=panorama.shape[-1]).float().clamp(0, 1)


def damaged(panorama, yaw, pitch, radius=30):
    """With noise within so many degrees of a direction: the same on the sphere wherever it is."""
    height, width = panorama.shape[-2:]
    right, up, forward = directions(height, width)
    right, forward = _rotated(right, forward, yaw)
    up, forward = _rotated(up, forward, pitch)
    half = math.tan(math.radians(radius))
    side = round(width / math.pi * half)
    noise = 0.5 * torch.randn(3, side, side, generator=torch.Generator().manual_seed(0))
    grid = torch.stack([right / forward, -up / forward], dim=-1)[None].clamp(-2, 2).float() / half
    seen = F.grid_sample(noise[None], grid, align_corners=False)[0]
    return torch.where(forward > math.cos(math.radians(radius)), panorama + seen, panorama).clamp(0, 1)


def _rotated(across, forward, degrees):
    sine, cosine = math.sin(math.radians(degrees)), math.cos(math.radians(degrees))
    return across * cosine - forward * sine, forward * cosine + across * sine


def _square(name, width):
    """The middle of a photograph, with the pixels that a panorama of this width has for it."""
    pixels = torch.from_numpy(np.array(photograph(name))).permute(2, 0, 1)[None].float() / 255
    side = min(pixels.shape[-2:])
    top, left = ((length - side) // 2 for length in pixels.shape[-2:])
    square = pixels[..., top : top + side, left : left + side]
    wanted = min(side, round(width / math.pi * EDGE))
    return F.interpolate(square, (wanted, wanted), mode="bilinear", antialias=True)
