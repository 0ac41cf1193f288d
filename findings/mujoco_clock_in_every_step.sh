#!/usr/bin/env bash
# MuJoCo 4.0.0 (Python bindings): 15 to 30 % of a step of a small model is reading the clock, and None does not stop it.
# One would guess: MuJoCo's timers cost nothing unless they are read, and set_mjcb_time(None), no function for the time,
#   switches them off.
# Seen: get_mjcb_time() is None although the timers run; after set_mjcb_time(None) they still do. With a function of C
#   that is no clock, the same steps give the same states bit for bit, in 0.7 to 0.85 of the time. No option of the model
#   does that.
# Looked for in: MuJoCo's documentation of mjcb_time and of the Python bindings; its issue 2354, which asked for the timers.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet 'mujoco==4.0.0' 'numpy==2.4.6'
cd "$folder"
venv/bin/python - <<'PYTHON'
import ctypes
import statistics
import time

import mujoco

MODEL = """
<mujoco><worldbody>
  <body><joint name="slide" type="slide" axis="1 0 0"/><geom type="box" size=".1 .1 .1"/>
    <body><joint name="hinge" type="hinge" axis="0 1 0"/><geom type="capsule" fromto="0 0 0 0 0 .6" size=".05"/></body>
  </body>
</worldbody></mujoco>
"""
STEPS = 20_000
model = mujoco.MjModel.from_xml_string(MODEL)


def steps():
    """Processor seconds of many steps, the state after them, and the seconds that MuJoCo's own timer has counted."""
    data = mujoco.MjData(model)
    data.qpos[1] = 0.1
    began = time.process_time()
    mujoco.mj_step(model, data, STEPS)
    return time.process_time() - began, data.qpos.tobytes(), data.timer[mujoco.mjtTimer.mjTIMER_STEP].duration


unset = mujoco.get_mjcb_time() is None
mujoco.set_mjcb_time(None)
still_timed = steps()[2] > 0
# A function of C without arguments that returns a double, and is no clock.
no_clock = ctypes.CFUNCTYPE(ctypes.c_double)(ctypes.cast(ctypes.CDLL(None).drand48, ctypes.c_void_p).value)
ratios, same = [], True
for _ in range(9):
    mujoco.set_mjcb_time(None)
    with_clock, state, _ = steps()
    mujoco.set_mjcb_time(no_clock)
    without, other, _ = steps()
    same &= state == other
    ratios.append(without / with_clock)
ratio = statistics.median(ratios)
print("version: mujoco", mujoco.__version__)
print("guess:   without a function for the time, no time is taken, and a step costs its arithmetic")
print(f"seen:    no function is set: {unset}; the timers run all the same: {still_timed};")
print(f"         without the clock a step takes {ratio:.2f} of its time; the same states: {same}")
print("means:   whoever needs steps rather than timings gives mjcb_time a function of C that is no clock")
holds = unset and still_timed and same and ratio < 0.95
raise SystemExit(0 if holds else "the behaviour has changed: the finding no longer holds")
PYTHON
