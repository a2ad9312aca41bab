"""Fracture of the neck or the trochanters of the femur, or none, on AP and lateral radiographs of the hip."""
